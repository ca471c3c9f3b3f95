// drawLetterbox draws a picture as the model gets it: fitted into width x height with its ratio kept, its new size rounded
// down, the rest white on both sides (as the server does; small pictures grow). The canvas gets that ratio.
export function drawLetterbox(canvas, picture, width, height) {
  const scale = canvasLongSide / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const ink = canvas.getContext("2d");
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, canvas.width, canvas.height);
  if (!picture) {
    return;
  }
  const ratio = picture.width / picture.height;
  let [w, h] = [width, height];
  if (ratio > width / height) {
    h = Math.max(1, Math.trunc(width / ratio));
  } else {
    w = Math.max(1, Math.trunc(height * ratio));
  }
  const left = Math.floor((width - w) / 2);
  const top = Math.floor((height - h) / 2);
  ink.imageSmoothingQuality = "high";
  ink.drawImage(picture, left * scale, top * scale, w * scale, h * scale);
}

const canvasLongSide = 480; // device pixels, enough for a tile on a sharp screen
