"""The page in a real browser: no errors, and what its reader does with it works."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from synthetic_study import make, write_study
from test_report import EXCEPTION

from codekd.analysis.report import FIGURES

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs a browser: Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    milliseconds = {"minilm": 40.0, "bigru-1.5m": 8.0, "roberta-1.5m": 9.0}
    return make(write_study(root, EXCEPTION, milliseconds=milliseconds), root, drawn=True) / "index.html"


def new_browser() -> Chrome:
    options = ChromeOptions()
    options.binary_location = BROWSER
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options, ChromeService(DRIVER))


def open_page(browser: Chrome, page: Path) -> None:
    """Until its table is there."""
    browser.get(page.as_uri())
    WebDriverWait(browser, 20, 0.05).until(lambda driver: driver.find_elements(By.ID, "cells_wrapper"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    driver = new_browser()
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Chrome, page: Path) -> Chrome:
    browser.set_window_size(1300, 1000)
    open_page(browser, page)
    return browser


def column(browser: Chrome, name: str) -> list[str]:
    """What the visible rows of the table of trainings have in a column."""
    heads = browser.find_elements(By.CSS_SELECTOR, "#cells thead tr:first-child th")
    place = [head.text for head in heads].index(name) + 1
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, f"#cells tbody td:nth-child({place})")]


def head(browser: Chrome, name: str):
    return browser.find_element(By.XPATH, f"//table[@id='cells']//th[contains(., '{name}')]//button")


def test_nothing_goes_wrong_and_everything_is_there(opened: Chrome) -> None:
    assert opened.get_log("browser") == []
    figures = opened.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(figures) == len(FIGURES)
    assert all(figure.size["width"] > 100 and figure.size["height"] > 20 for figure in figures)
    loaded = opened.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith(("blob:", "data:")) for name in loaded)
    for link in opened.find_elements(By.CSS_SELECTOR, "nav a"):
        assert opened.find_elements(By.ID, link.get_attribute("href").split("#")[1])


def test_the_table_sorts_by_numbers_from_the_keyboard(opened: Chrome) -> None:
    before = column(opened, "Test, %")
    button = head(opened, "Test, %")
    button.send_keys(Keys.ENTER)
    rising = [float(text) for text in column(opened, "Test, %")]
    assert rising == sorted(map(float, before)) != list(map(float, before))
    button.send_keys(Keys.ENTER)
    assert [float(text) for text in column(opened, "Test, %")] == rising[::-1]
    assert all(link.startswith("file:") for link in _links(opened))


def test_the_table_filters(opened: Chrome) -> None:
    opened.find_element(By.CSS_SELECTOR, "#cells_wrapper input[type=search]").send_keys("bigru")
    assert set(column(opened, "Student")) == {"bigru-1.5m"}
    opened.find_element(By.CSS_SELECTOR, "#cells_wrapper input[type=search]").send_keys(" ckd")
    assert set(column(opened, "Method")) == {"ckd"}


def test_a_figure_enlarges_and_goes_back(opened: Chrome) -> None:
    figure = opened.find_element(By.CSS_SELECTOR, "figure")
    small = figure.find_element(By.TAG_NAME, "svg").size["width"]
    figure.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    dialog = opened.find_element(By.TAG_NAME, "dialog")
    assert dialog.is_displayed() and dialog.find_element(By.TAG_NAME, "svg").size["width"] > small
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert figure.find_element(By.TAG_NAME, "svg").size["width"] == small


def test_a_phone_scrolls_tables_and_not_the_page(opened: Chrome) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 25, 29)")])
def test_the_page_follows_the_readers_choice_of_colours(opened: Chrome, scheme: str, paper: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    body = opened.find_element(By.TAG_NAME, "body")
    assert body.value_of_css_property("background-color").replace("rgba", "rgb").replace(", 1)", ")") == paper
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _links(browser: Chrome) -> list[str]:
    return [one.get_attribute("href") for one in browser.find_elements(By.CSS_SELECTOR, "#cells tbody a")]
