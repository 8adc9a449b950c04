// Opens pages in a frame, one after the other, and writes the faults of each. test_pages.py sets PAGES (addresses),
// WIDTH (of the frame), SMALLEST (font size, in pixels) and SHRUNK (smallest scale of an image).

function isShown(element) {
  return element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
}

// True if part of the element is inaccessible: beyond the page, or behind the edge of a box that does not scroll.
function isCut(element, { left, right }) {
  for (let box = element; box.parentElement; box = box.parentElement) {
    const { overflowX, position } = getComputedStyle(box);
    const edge = box.getBoundingClientRect();
    if (overflowX === "auto" || overflowX === "scroll") return false;
    if (overflowX === "visible" || edge.width <= 2) continue; // text for screen readers only
    if (left < edge.right && right > edge.right + 1) return true;
    if (right > edge.left && left < edge.left - 1) return true;
    if (position === "fixed") break;
  }
  return (left < WIDTH && right > WIDTH + 1) || (right > 0 && left < -1);
}

function* scrolling(page) {
  const root = page.documentElement;
  if (root.clientWidth !== WIDTH) yield `width of ${root.clientWidth}`;
  if (root.scrollWidth > WIDTH) yield `sideways scrolling: ${root.scrollWidth} wide`;
  for (const box of page.querySelectorAll("body :has(h1)")) {
    const isScrolled = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible";
    if (isScrolled) yield `sideways scrolling: ${box.tagName} ${box.className}, ${box.scrollWidth} wide`;
  }
}

function* pictures(page) {
  for (const picture of page.images) {
    const name = picture.src.slice(-50);
    if (!picture.complete || !picture.naturalWidth) yield `missing image: ${name}`;
    const isThumbnail = picture.closest(".sphx-glr-thumbcontainer"); // a link with text beside it
    if (!picture.alt.trim() && !isThumbnail) yield `image without alt text: ${name}`;
    if (!isShown(picture)) continue;
    const rectangle = picture.getBoundingClientRect();
    if (isCut(picture, rectangle)) yield `image cut off: ${name}`;
    const isSmall = rectangle.width < SHRUNK * picture.naturalWidth;
    if (isSmall && !isThumbnail && !picture.closest("a")) yield `image shrunk: ${name}`;
  }
}

function* texts(page) {
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  const range = page.createRange();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.data.trim().slice(0, 50);
    if (!words || !isShown(element)) continue;
    range.selectNodeContents(walker.currentNode);
    if (isCut(element, range.getBoundingClientRect())) yield `text cut off: ${words}`;
    if (parseFloat(getComputedStyle(element).fontSize) < SMALLEST) yield `small text: ${words}`;
  }
}

async function inspect(address) {
  const frame = document.querySelector("iframe");
  await new Promise((done) => { frame.onload = done; frame.src = address; });
  await new Promise((done) => setTimeout(done, 300));
  const page = frame.contentDocument;
  const faults = [...scrolling(page), ...pictures(page), ...texts(page)];
  return { title: page.title, pictures: page.images.length, letters: page.body.innerText.length, faults };
}

(async () => {
  const results = {};
  for (const address of PAGES) results[address] = await inspect(address);
  document.querySelector("pre").textContent = JSON.stringify(results);
})();
