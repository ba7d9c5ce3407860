"use strict";
// The page at work: strokes and files in, what the network says out. It computes in a worker, so that the page never stands still.

const facts = JSON.parse($("facts").textContent);
const [channels, height, width] = facts.image_shape;
const FITTED = { crop: "cropped to its middle, ", pad: "laid on grey, ", stretch: "stretched, " };
let own = null; // the network in this thread: for scoresOf, and where there are no workers

function networkFile() {
  const text = atob($("network").textContent), bytes = new Uint8Array(text.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = text.charCodeAt(k);
  return bytes;
}

function ownNetwork() {
  own ||= readNetwork(networkFile(), facts.values);
  return own;
}

/** What a test asks for: float32 scores of images, uint8 one behind the other, both in base64. */
function scoresOf(base64) {
  const text = atob(base64), size = product(facts.image_shape), found = [];
  for (let at = 0; at < text.length; at += size) {
    found.push(...ownNetwork().scores(Uint8Array.from({ length: size }, (_, k) => text.charCodeAt(at + k))));
  }
  return btoa(Array.from(new Uint8Array(Float32Array.from(found).buffer), (byte) => String.fromCharCode(byte)).join(""));
}

/** Scores, time of an image in milliseconds, and the values that are shown. The first run, before a browser has compiled what it
 * runs, is not in the time where a second one does not keep anybody waiting. */
function answer(network, pixels, shown) {
  let start = performance.now();
  const values = network.run(pixels);
  let milliseconds = performance.now() - start;
  if (milliseconds < 400) {
    start = performance.now();
    let count = 0;
    for (; count < 50 && (count === 0 || performance.now() - start < 10); count++) network.run(pixels);
    milliseconds = (performance.now() - start) / count;
  }
  const maps = shown.map((k) => values[k].slice());
  return { scores: Float32Array.from(values.at(-1)), milliseconds, maps, units: surest(network, values, 8) };
}

/** compute(pixels) -> promise of an answer, in a worker where the browser lets the page have one. */
function computer() {
  const shown = facts.shown.map(({ value }) => value), file = networkFile();
  const here = (pixels) => new Promise((done) => setTimeout(() => done(answer(ownNetwork(), pixels, shown))));
  const code = `${$("network-code").textContent}\n${answer}
    let network, shown;
    onmessage = ({ data }) => {
      if (data.file) { network = readNetwork(data.file, data.values); shown = data.shown; }
      else postMessage(answer(network, data.pixels, shown));
    };`;
  try {
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    let broken = false;
    worker.postMessage({ file, values: facts.values, shown });
    return (pixels) => broken ? here(pixels) : new Promise((done) => {
      worker.onmessage = ({ data }) => done(data);
      worker.onerror = () => { broken = true; done(here(pixels)); };
      worker.postMessage({ pixels });
    });
  } catch {
    return here;
  }
}

const compute = computer();
let waiting = null, busy = false, last = null, strokes = [], pen = null;
let turn = 0; // what was begun before the field was cleared is not shown

/** The newest pixels are computed, those that were overtaken are not. final: a screen reader says the result. */
async function show(pixels, final) {
  waiting = { pixels, final, of: turn };
  if (busy) return;
  busy = true;
  while (waiting) {
    const now = waiting;
    waiting = null;
    const found = await compute(now.pixels);
    if (now.of !== turn) continue;
    last = { pixels: now.pixels, ...found };
    render(now.final);
  }
  busy = false;
}

function render(said) {
  if (!last) return;
  const text = showScores(facts.classes, last.scores);
  if (said) say(text);
  const time = last.milliseconds;
  $("time").textContent = `${time < 9.95 ? Number(time.toPrecision(2)) : Math.round(time)} ms an image, in this browser`;
  $("seen").hidden = false;
  showMaps(last, facts.image_shape, last.maps.map((data, k) => ({ ...facts.shown[k], data })));
}

function say(text, isError = false) {
  $("said").textContent = text;
  $("said").classList.toggle("error", isError);
}

function clear() {
  strokes = [];
  pen = null;
  waiting = last = null;
  turn++;
  $("photo").hidden = true;
  $("empty").hidden = false;
  $("drop").classList.remove("full");
  turnTo(Boolean(facts.drawn));
  drawPad();
  showScores(facts.classes, null);
  $("time").textContent = "";
  $("seen").hidden = true;
  say("");
}

/** The drawing field is there, or the image; and what is said of it. */
function turnTo(drawing) {
  document.body.classList.toggle("draws", drawing);
  $("pad").hidden = !drawing;
  $("drop").hidden = drawing;
  const drawable = facts.drawn === "kmnist" ? "a character" : "a digit";
  $("input-title").textContent = drawing ? `Draw ${drawable}` : facts.drawn ? "Your image" : "Show it an image";
  $("clear").textContent = facts.drawn && !drawing ? `Draw ${drawable}` : "Clear";
  $("hint").textContent = drawing
    ? "With mouse, pen or finger; with the keys, arrows move, the space bar puts the pen down and up, Escape clears."
    : `It is ${FITTED[facts.fit]}${channels === 1 ? "made grey, " : ""}and made as small as the images of the training.`;
}

// ---- images

async function open(file) {
  if (!file) return;
  clear();
  turnTo(false);
  const begun = turn;
  try {
    const picture = await decoded(file), photo = $("photo");
    if (begun !== turn) return;
    photo.width = picture.width;
    photo.height = picture.height;
    photo.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height), 0, 0);
    photo.hidden = false;
    $("empty").hidden = true;
    $("drop").classList.add("full");
    show(planes(fitted(opaque(picture, channels), width, height, facts.fit, facts.tall_first)), true);
  } catch {
    say(`${file.name || "This"} is no image that this browser reads.`, true);
  }
}

$("file").addEventListener("change", ({ target }) => { open(target.files[0]); target.value = ""; });
$("clear").addEventListener("click", clear);
$("drop").addEventListener("click", () => $("file").click());
addEventListener("paste", ({ clipboardData }) => open([...clipboardData.files].find((file) => file.type.startsWith("image/"))));
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
for (const end of ["dragleave", "drop"]) addEventListener(end, () => document.body.classList.remove("over"));
addEventListener("drop", (event) => { event.preventDefault(); open(event.dataTransfer.files[0]); });

// ---- drawing

const paper = $("pad"), here = { x: 0.5, y: 0.5, shown: false, down: false }; // the pen of the keyboard

function drawPad() {
  const side = Math.round((paper.clientWidth || 320) * (window.devicePixelRatio || 1)), context = paper.getContext("2d");
  paper.width = paper.height = side;
  context.strokeStyle = context.fillStyle = colour("--pencil");
  context.lineWidth = side / 14;
  context.lineCap = context.lineJoin = "round";
  if (!strokes.length && document.activeElement !== paper) {
    context.globalAlpha = 0.45;
    context.font = `${side / 16}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillText(`Draw ${facts.drawn === "kmnist" ? "a character" : "a digit"} here`, side / 2, side / 2);
    context.globalAlpha = 1;
  }
  for (const stroke of strokes) {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(x * side, y * side);
    context.lineTo(stroke.at(-1)[0] * side, stroke.at(-1)[1] * side + 0.01);
    context.stroke();
  }
  if (here.shown) {
    context.lineWidth = side / 90;
    context.strokeStyle = colour("--plus");
    context.beginPath();
    context.arc(here.x * side, here.y * side, side / (here.down ? 24 : 16), 0, 7);
    context.stroke();
  }
}

function drawn(final) {
  drawPad();
  if (strokes.length) show(digit(strokes, facts.drawn), final);
}

function point({ clientX, clientY }) {
  const { left, top, width: wide, height: high } = paper.getBoundingClientRect();
  return [(clientX - left) / wide, (clientY - top) / high];
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  paper.setPointerCapture(event.pointerId);
  here.shown = here.down = false;
  pen = [point(event)];
  strokes.push(pen);
  drawn(false);
});
paper.addEventListener("pointermove", (event) => {
  if (!pen || here.down) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) pen.push(point(part));
  drawn(false);
});
for (const end of ["pointerup", "pointercancel"]) paper.addEventListener(end, () => { if (pen) drawn(true); pen = null; });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
paper.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key], within = (x) => Math.min(0.95, Math.max(0.05, x));
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (arrow) {
    here.x = within(here.x + arrow[0] / 20);
    here.y = within(here.y + arrow[1] / 20);
    if (here.down) pen.push([here.x, here.y]);
  } else if (event.key === " " || event.key === "Enter") {
    here.down = !here.down;
    if (here.down) strokes.push(pen = [[here.x, here.y]]);
    else pen = null;
  } else if (["Escape", "Delete", "Backspace"].includes(event.key)) {
    here.down = false;
    clear();
  } else return;
  here.shown = true;
  event.preventDefault();
  drawn(!here.down);
});
paper.addEventListener("focus", drawPad);
paper.addEventListener("blur", () => { here.shown = here.down = false; pen = null; drawPad(); });

function redraw() {
  if (!paper.hidden) drawPad();
  render(false);
}

$("legend").hidden = facts.shown.some(({ kind }) => kind !== "bits");
clear();
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
