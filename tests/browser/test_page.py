"""Every page as a reader has it: from disk, at a desk and on a phone, light, dark and printed."""

import pytest

pytestmark = pytest.mark.browser
PAGES = ("study", "annotations", "longform", "doctor")

# Text nodes that can be seen, with the contrast of their colour to what is painted below them (WCAG 2.2, 1.4.3).
CONTRAST = """
() => {
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(channels(getComputedStyle(one).backgroundColor));
    }
    const over = (below, top) => top.rgb.map((c, i) => c * top.a + below[i] * (1 - top.a));
    return layers.reverse().reduce(over, [255, 255, 255]);
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest("button:disabled")) continue;
    const style = getComputedStyle(element), ground = behind(element), ink = channels(style.color);
    const over = ink.rgb.map((c, i) => c * ink.a + ground[i] * (1 - ink.a));
    const [low, high] = [light(over), light(ground)].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const text = walk.currentNode.data.trim().slice(0, 40);
    found.push({ text, ratio: (high + 0.05) / (low + 0.05), wanted: large ? 3 : 4.5 });
  }
  return found;
}
"""


@pytest.mark.parametrize("name", PAGES)
def test_it_opens_from_disk_without_a_complaint_and_asks_for_nothing(opened, reports, name):
    one = opened(name)
    one.page.locator("#theme").select_option("dark")
    one.page.wait_for_timeout(200)
    assert one.said == []
    assert [request.url for request in one.asked if not request.url.startswith("data:")] == [reports[name].as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_but_its_own_script_can_run(opened, name):
    one = opened(name)
    one.page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'taken'";
      const image = new Image();
      image.src = "http://127.0.0.1:9/x.png";
      document.body.append(script, image);
    }""")
    one.page.wait_for_timeout(200)
    assert one.page.title() != "taken"
    assert len([line for line in one.said if "Content Security Policy" in line]) == 2
    assert [request.failure for request in one.asked if request.url.startswith("http")] == ["csp"]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_all_text_has_the_contrast_of_wcag_aa(opened, name, colours):
    found = opened(name, colours=colours).page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [one for one in found if one["ratio"] < one["wanted"]] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_switch_of_colours_outdoes_the_system_and_is_remembered(opened, name):
    page = opened(name, colours="dark").page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.locator("#theme").input_value() == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("name", PAGES)
def test_every_image_is_there_and_has_alternative_text(opened, name):
    page = opened(name).page
    images = page.evaluate("[...document.images].map((one) => [one.alt, one.naturalWidth])")
    assert images and all(alt.strip() and width > 0 for alt, width in images)
    controls = page.locator("input, select, button").all()
    assert all(one.get_attribute("aria-label") or one.inner_text().strip() for one in controls)


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways_and_wide_tables_do_in_their_box(opened, name):
    page = opened(name, width="phone").page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = page.evaluate("[...document.querySelectorAll('.wide')].map((box) => [box.clientWidth, box.scrollWidth])")
    assert all(client <= 390 for client, _ in boxes) and any(scroll > client for client, scroll in boxes)
    outside = page.evaluate("""() => [...document.querySelectorAll("main *")]
      .filter((one) => !one.closest(".wide, pre") && one.checkVisibility())
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))""")
    assert outside == []


@pytest.mark.parametrize("name", ["study", "doctor"])
def test_links_lead_to_places_of_the_page(opened, name):
    page = opened(name).page
    links = page.locator("nav a").all()
    assert len(links) >= 6
    for link in links:
        assert page.locator(link.get_attribute("href")).count() == 1
    repeated = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(repeated) == len(set(repeated))


@pytest.mark.parametrize("name", PAGES)
def test_figures_hand_out_their_numbers(opened, reports, name):
    page = opened(name).page
    links = page.locator("a[download]").all()
    assert len(links) == len(page.locator("figure").all()) > 0
    with page.expect_download() as download:
        links[0].click()
    file = download.value.suggested_filename
    beside = reports[name].parent if name == "doctor" else reports[name].parent.parent
    assert download.value.path().read_bytes() == (beside / "tables" / file).read_bytes()


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_in_light_colours_without_its_controls(opened, name):
    page = opened(name, colours="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('figure img')).filter") == "none"
    assert not page.locator("header").is_visible() and not page.locator(".controls").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
