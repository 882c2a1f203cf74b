// The model behind `facemask serve`: index.html imports this as engine.js.

let largest = Infinity;

/** The model in use, as /api/model describes it. */
export async function describe() {
  const model = await (await fetch("api/model")).json();
  largest = model.largest_upload;
  return model;
}

/** The faces in a photo's file or in a frame of a video, as /api/predict answers. */
export async function predict(source) {
  const body = source instanceof Blob ? source : await frame(source);
  if (body.size > largest) throw new Error(`too large: ${Math.round(body.size / 2 ** 20)} MB; ${largest / 2 ** 20} MB are allowed`);
  let response;
  try {
    response = await fetch("api/predict", { method: "POST", body, headers: { "Content-Type": body.type || "application/octet-stream" } });
  } catch {
    throw new Error("The server does not answer; start facemask serve again");
  }
  if (response.ok) return response.json();
  const { detail } = await response.json().catch(() => ({}));
  throw new Error(detail || `error ${response.status}`);
}

function frame(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}
