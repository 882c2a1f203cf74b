// The model in the browser, without a server: index.html imports this as engine.js. What LiteRT.js does not do is done
// as in Python, to the bit: facemask.data.images, facemask.data.letterbox, facemask.data.detections and
// facemask.evaluation.decision.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const GREY = 128;
const MAX_IOU = 0.5;
const PRECISION = 22; // bits of a weight of Pillow's, after the point

self.Module = { printErr: console.debug }; // LiteRT reports all that it does there

const loaded = (async () => {
  const response = await fetch("model.json");
  if (!response.ok) throw new Error(`model.json: error ${response.status}`);
  const model = await response.json();
  await loadLiteRt("litert/core/wasm/litert_wasm_compat_internal.js"); // without threads and optional instructions
  return { model, network: await loadAndCompile("model.tflite", { accelerator: "wasm" }) };
})();
loaded.catch(() => {}); // describe and predict report it

/** The model in use, as `facemask serve` describes it, and whether it finds faces. */
export const describe = async () => (await loaded).model;

/**
 * The faces in a photo's file or in a frame of a video, as `facemask serve` answers, but not rounded. A model that does
 * not find faces labels the region [left, top, right, bottom], in pixels of the upright photo, or the whole photo.
 */
export async function predict(source, region) {
  const { model, network } = await loaded;
  const start = performance.now();
  const bitmap = await decode(source);
  const { width, height } = bitmap;
  const faces = await (model.finds_faces ? detect : classify)(bitmap, model, network, region);
  bitmap.close();
  return { width, height, milliseconds: performance.now() - start, faces };
}

async function decode(source) {
  try {
    return await createImageBitmap(source, { colorSpaceConversion: "none" });
  } catch {
    throw new Error("not an image that this browser can show");
  }
}

async function classify(bitmap, model, network, region) {
  const box = region ?? [0, 0, bitmap.width, bitmap.height];
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  if (region && Math.min(width, height) < model.min_size) return [{ box, score: 1, label: null }];
  const square = resize(pixels(bitmap, box), width, height, model.size, model.size);
  const probabilities = await run(network, square, model.size);
  const classes = model.labels;
  return [face(box, 1, classes, probabilities, decide(probabilities, classes.indexOf(model.label), model.threshold))];
}

async function detect(bitmap, model, network) {
  const { width, height } = bitmap;
  const scale = model.size / Math.max(width, height);
  const [across, down] = [width, height].map(side => Math.max(1, round(side * scale)));
  const square = letterbox(resize(pixels(bitmap, [0, 0, width, height]), width, height, across, down), across, model.size);
  const output = await run(network, square, model.size);
  const classes = model.labels;
  const rows = Array.from({ length: output.length / (4 + classes.length) }, (_, row) =>
    [...output.subarray(row * (4 + classes.length), (row + 1) * (4 + classes.length))]);
  return suppress(rows, model.min_score).map(row => {
    const ends = [width, height, width, height];
    const box = row.slice(0, 4).map((edge, place) => Math.min(Math.max(round(edge * model.size / scale), 0), ends[place]));
    const scores = row.slice(4);
    const total = scores.reduce((sum, score) => sum + score, 0);
    const labelled = Math.min(box[2] - box[0], box[3] - box[1]) >= model.min_size;
    return face(box, Math.max(...scores), classes, scores.map(score => score / total), labelled ? argmax(scores) : null);
  }).filter(({ box }) => box[0] < box[2] && box[1] < box[3]);
}

function face(box, score, classes, probabilities, index) {
  if (index === null) return { box, score, label: null };
  return {
    box, score, label: classes[index], probability: probabilities[index],
    probabilities: Object.fromEntries(classes.map((name, place) => [name, probabilities[place]])),
  };
}

async function run(network, bytes, size) {
  const input = new Tensor(bytes, [1, size, size, 3]);
  const [output] = await network.run([input]);
  const values = output.toTypedArray();
  input.delete();
  output.delete();
  return values;
}

function pixels(bitmap, [left, top, right, bottom]) {
  const context = new OffscreenCanvas(right - left, bottom - top).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, right - left, bottom - top);
  context.drawImage(bitmap, -left, -top);
  return context.getImageData(0, 0, right - left, bottom - top).data;
}

/** Pillow's bilinear resize of pixels (height, width, 3 or 4), row by row, to RGB. */
export function resize(pixels, width, height, across, down) {
  // The order that Pillow 13 chooses; each pass rounds, so it matters.
  return height > down && height - down > 2 * (width - across)
    ? pass(pass(pixels, width, height, down, true), width, down, across, false)
    : pass(pass(pixels, width, height, across, false), across, height, down, true);
}

// Pixels with another number of columns, or of rows.
function pass(pixels, width, height, to, vertical) {
  const channels = pixels.length / (width * height);
  const [from, lines] = vertical ? [height, width] : [width, height];
  const [step, pitch] = vertical ? [width, 1] : [1, width];
  const [stepOut, pitchOut] = vertical ? [width, 1] : [1, to];
  const result = new Uint8Array(to * lines * 3);
  weights(from, to).forEach(({ first, parts }, place) => {
    for (let line = 0; line < lines; line++) {
      let red = 0, green = 0, blue = 0;
      for (let part = 0, at = (line * pitch + first * step) * channels; part < parts.length; part++, at += step * channels) {
        red += pixels[at] * parts[part];
        green += pixels[at + 1] * parts[part];
        blue += pixels[at + 2] * parts[part];
      }
      const half = 1 << (PRECISION - 1), at = (line * pitchOut + place * stepOut) * 3;
      result[at] = (red + half) >> PRECISION;
      result[at + 1] = (green + half) >> PRECISION;
      result[at + 2] = (blue + half) >> PRECISION;
    }
  });
  return result;
}

// Of every output pixel of a line, the first input pixel and the weights from there on, in fixed point.
function weights(from, to) {
  const scale = from / to, reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const parts = Array.from({ length: end - first }, (_, part) =>
      Math.max(0, 1 - Math.abs((part + first - centre + 0.5) * (1 / reach))));
    const sum = parts.reduce((total, part) => total + part, 0);
    return { first, parts: parts.map(part => Math.trunc(0.5 + part / sum * 2 ** PRECISION)) };
  });
}

// Fill up to a square at the right and below.
function letterbox(rgb, width, size) {
  const square = new Uint8Array(size * size * 3).fill(GREY);
  for (let row = 0; row * width * 3 < rgb.length; row++) square.set(rgb.subarray(row * width * 3, (row + 1) * width * 3), row * size * 3);
  return square;
}

/** Non-maximum suppression of rows [left, top, right, bottom, score of every class]. */
export function suppress(rows, least) {
  const surest = row => Math.max(...row.slice(4));
  const kept = [];
  for (const row of rows.filter(row => surest(row) >= Math.fround(least)).sort((one, other) => surest(other) - surest(one))) {
    if (kept.every(other => overlap(row, other) <= MAX_IOU)) kept.push(row);
  }
  return kept;
}

function overlap(one, other) {
  const area = box => (box[2] - box[0]) * (box[3] - box[1]);
  const across = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(0, across) * Math.max(0, down);
  return shared / (area(one) + area(other) - shared);
}

/** The decision rule: the index of a class. */
export function decide(probabilities, index, threshold) {
  if (threshold === null) return argmax(probabilities);
  if (probabilities[index] >= Math.fround(threshold)) return index;
  return argmax(probabilities.map((probability, place) => place === index ? -1 : probability));
}

const argmax = values => values.indexOf(Math.max(...values));

// Python's: halves go to the even neighbour.
const round = value => value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
