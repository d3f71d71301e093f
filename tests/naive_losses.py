"""Losses on states and logits as their papers write them, with loops over float64 arrays."""

from itertools import combinations, permutations, product

import numpy as np
from numpy.linalg import norm


def softmax(row):
    exponentials = np.exp(row - row.max())
    return exponentials / exponentials.sum()


def kl(teacher, student):
    return float(np.sum(teacher * np.log(teacher / student)))


def dkd(student, teacher, targets, temperature):
    target, others = [], []
    for s, t, y in zip(student, teacher, targets, strict=True):
        p, q = softmax(s / temperature), softmax(t / temperature)
        target.append(kl(np.array([q[y], 1 - q[y]]), np.array([p[y], 1 - p[y]])))
        rest = [index for index in range(len(s)) if index != y]
        others.append(kl(softmax(t[rest] / temperature), softmax(s[rest] / temperature)))
    return np.mean(target), np.mean(others)


def lskd(student, teacher, temperature):
    scores = [[(row - row.mean()) / row.std(ddof=1) for row in rows] for rows in (student, teacher)]
    return np.mean([kl(softmax(t / temperature), softmax(s / temperature)) for s, t in zip(*scores, strict=True)])


def pkd(student, teacher, layers, maps, mapped):
    """States are lists of ``(batch, width)``; ``maps`` are the matrices W of the layers, of the side ``mapped``."""
    losses = []
    for index, (layer, matrix) in enumerate(zip(layers, maps, strict=True), start=1):
        for s, t in zip(student[index], teacher[layer], strict=True):
            ours, theirs = (matrix @ s, t) if mapped == "student" else (s, matrix @ t)
            losses.append(np.mean((ours / norm(ours) - theirs / norm(theirs)) ** 2))
    return np.mean(losses)


def fitnets(student, teacher, matrix, bias):
    return np.mean([(matrix @ s + bias - t) ** 2 for s, t in zip(student, teacher, strict=True)])


def simkd(features, teacher):
    return np.mean([np.mean((s - t) ** 2) for s, t in zip(features, teacher, strict=True)])


def contrast_of_sides(first, second, alike, sharpness):
    cosines = np.array([[cosine(u, v) / sharpness for v in second] for u in first])
    each = [-(np.log(softmax(cosines[i])[i]) + np.log(softmax(cosines[:, i])[i])) / 2 for i in range(len(first))]
    return np.dot(alike, each) / np.sum(alike)


def smooth_l1(difference):
    size = abs(difference)
    return 0.5 * size**2 if size < 1 else size - 0.5


def rkd_distance(student, teacher):
    pairs = list(permutations(range(len(student)), 2))
    lengths = [[norm(states[i] - states[j]) for i, j in pairs] for states in (student, teacher)]
    scaled = [np.array(lengths) / np.mean(lengths) for lengths in lengths]
    return np.mean([smooth_l1(a - b) for a, b in zip(*scaled, strict=True)])


def rkd_angle(student, teacher):
    def angle(states, i, j, k):
        return cosine(states[j] - states[i], states[k] - states[i])

    triplets = list(permutations(range(len(student)), 3))
    return np.mean([smooth_l1(angle(student, *triplet) - angle(teacher, *triplet)) for triplet in triplets])


def mgskd(student, teacher, heads):
    """Angles and pairs of one layer; states are ``(batch, width)`` of one width."""
    angles, pairs = [], []
    for part, other in zip(np.split(student, heads, axis=1), np.split(teacher, heads, axis=1), strict=True):
        angles.append(rkd_angle(part, other))
        width = part.shape[1]
        for i in range(len(part)):
            for j in range(len(part)):
                pairs.append((part[i] @ part[j] / np.sqrt(width) - other[i] @ other[j] / np.sqrt(width)) ** 2)
    return np.mean(angles), np.mean(pairs)


def sp(student, teacher):
    grams = [[[a @ b for b in states] for a in states] for states in (student, teacher)]
    rows = [[np.array(row) / norm(row) for row in gram] for gram in grams]
    return np.mean([(a - b) ** 2 for a, b in zip(*rows, strict=True)])


def pkt(student, teacher):
    total = 0.0
    for i in range(len(student)):
        rows = []
        for states in (student, teacher):
            row = np.array([(1 + states[i] @ other / (norm(states[i]) * norm(other))) / 2 for other in states])
            rows.append(row / row.sum())
        total += kl(rows[1], rows[0])
    return total / len(student) ** 2


def crd(student, teacher, banks, constants, chosen, negatives, maps, temperature):
    """``banks`` are the student's and the teacher's, ``constants`` the Z of either, ``chosen`` a positive first."""
    noise, total = negatives / len(banks[0]), 0.0
    for states, (matrix, bias), bank, z in zip((student, teacher), maps, banks[::-1], constants, strict=True):
        for state, places in zip(states, chosen, strict=True):
            scores = [np.exp(cosine(matrix @ state + bias, bank[place]) / temperature) / z for place in places]
            total -= np.log(scores[0] / (scores[0] + noise))
            total -= sum(np.log(noise / (score + noise)) for score in scores[1:])
    return total / len(student)


def cosine(first, second):
    return first @ second / (norm(first) * norm(second))


def ckd(student, teacher, present, window, distance_loss="mse"):
    """Distances and angles of WR, then of LTR.

    States are ``(layers, sequences, units, width)``, ``present`` is ``(sequences, units)``.
    """
    near, angles, across, turning = [], [], [], []
    layers, sequences, units, _ = student.shape
    sides = student, teacher

    def difference(of, *places):
        return (of(*(student[place] for place in places)) - of(*(teacher[place] for place in places))) ** 2

    def angle(centre, first, second):
        return cosine(first - centre, second - centre)

    def compared(place, others):
        """The loss of a place's distances to others, a value for each of them and for the place itself."""
        if distance_loss == "mse":
            return [difference(cosine, place, other) for other in others]
        if not others:
            return []
        second, first = (softmax(np.array([cosine(side[place], side[at]) for at in others])) for side in sides)
        return [0.0, *(first * np.log(first / second))]

    for sequence in range(sequences):
        there = [unit for unit in range(units) if present[sequence, unit]]
        for layer in range(layers):
            for centre in there:
                around = [unit for unit in there if 0 < abs(unit - centre) <= window]
                near += compared((layer, sequence, centre), [(layer, sequence, unit) for unit in around])
                apart = [
                    unit
                    for unit in around
                    if all(norm(side[layer, sequence, unit] - side[layer, sequence, centre]) > 1e-3 for side in sides)
                ]
                angles += [
                    difference(angle, *((layer, sequence, unit) for unit in (centre, first, second)))
                    for first, second in combinations(apart, 2)
                ]
        for unit in there:
            places = [(layer, sequence, unit) for layer in range(layers)]
            for centre in places:
                rest = [place for place in places if place != centre]
                across += compared(centre, rest)
                turning += [difference(angle, centre, *pair) for pair in combinations(rest, 2)]
    return [np.mean(losses) if losses else 0 for losses in (near, angles, across, turning)]


def ast(student, teacher, present, parent, sibling):
    """PC, SB and AN; states are ``(layers, sequences, nodes, width)``, all else is ``(sequences, nodes)``."""
    above, beside, turning = [], [], []

    def of(side, layer, sequence, node, other):
        return cosine(side[layer, sequence, node], side[layer, sequence, other])

    def angle(side, layer, sequence, *corner):
        centre, first, second = (side[layer, sequence, node] for node in corner)
        return cosine(first - centre, second - centre)

    def apart(side, layer, sequence, centre, *others):
        return all(norm(side[layer, sequence, centre] - side[layer, sequence, node]) > 1e-3 for node in others)

    def difference(function, *places):
        return (function(student, *places) - function(teacher, *places)) ** 2

    for layer, sequence in product(range(len(student)), range(len(present))):
        there = [node for node in range(len(present[sequence])) if present[sequence][node]]
        for node in there:
            up, near = parent[sequence][node], sibling[sequence][node]
            if up in there:
                above.append(difference(of, layer, sequence, node, up))
            if near in there:
                beside.append(difference(of, layer, sequence, node, near))
            corner = layer, sequence, up, node, near
            if up in there and near in there and apart(student, *corner) and apart(teacher, *corner):
                turning.append(difference(angle, *corner))
    return np.mean(above), np.mean(beside), np.mean(turning)
