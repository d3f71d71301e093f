"""Losses on states and logits as their papers write them, with loops over float64 arrays."""

from itertools import combinations, permutations

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


def pkd(student, teacher, layers, maps):
    """States are lists of ``(batch, width)``; ``maps`` are the matrices W of the mapped layers."""
    losses = []
    for index, (layer, matrix) in enumerate(zip(layers, maps, strict=True), start=1):
        for s, t in zip(student[index], teacher[layer], strict=True):
            mapped = matrix @ t
            losses.append(np.mean((s / norm(s) - mapped / norm(mapped)) ** 2))
    return np.mean(losses)


def fitnets(student, teacher, matrix, bias):
    return np.mean([(matrix @ s + bias - t) ** 2 for s, t in zip(student, teacher, strict=True)])


def smooth_l1(difference):
    size = abs(difference)
    return 0.5 * size**2 if size < 1 else size - 0.5


def rkd_distance(student, teacher):
    pairs = list(permutations(range(len(student)), 2))
    lengths = [[norm(states[i] - states[j]) for i, j in pairs] for states in (student, teacher)]
    scaled = [np.array(lengths) / np.mean(lengths) for lengths in lengths]
    return np.mean([smooth_l1(a - b) for a, b in zip(*scaled, strict=True)])


def rkd_angle(student, teacher):
    def cosine(states, i, j, k):
        first, second = states[j] - states[i], states[k] - states[i]
        return first @ second / (norm(first) * norm(second))

    triplets = list(permutations(range(len(student)), 3))
    return np.mean([smooth_l1(cosine(student, *triplet) - cosine(teacher, *triplet)) for triplet in triplets])


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


def cosine(first, second):
    return first @ second / (norm(first) * norm(second))


def ckd(student, teacher, present, window):
    """WR and LTR; states are ``(layers, sequences, units, width)``, ``present`` is ``(sequences, units)``."""
    near, angles, across, turning = [], [], [], []
    layers, sequences, units, _ = student.shape
    sides = student, teacher

    def difference(of, *places):
        return (of(*(student[place] for place in places)) - of(*(teacher[place] for place in places))) ** 2

    def angle(centre, first, second):
        return cosine(first - centre, second - centre)

    for sequence in range(sequences):
        there = [unit for unit in range(units) if present[sequence, unit]]
        for layer in range(layers):
            for centre in there:
                around = [unit for unit in there if 0 < abs(unit - centre) <= window]
                near += [difference(cosine, (layer, sequence, centre), (layer, sequence, unit)) for unit in around]
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
            across += [difference(cosine, *pair) for pair in combinations(places, 2)]
            for centre in places:
                rest = [place for place in places if place != centre]
                turning += [difference(angle, centre, *pair) for pair in combinations(rest, 2)]
    return np.mean(near) + np.mean(angles), np.mean(across) + (np.mean(turning) if turning else 0)
