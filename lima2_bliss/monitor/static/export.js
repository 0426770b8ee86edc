// What the user takes away: the image as it is shown, and the link to it.

const CAPTION = 28;

// PNG of the present view with what lies over it, and a line that says what it is.
export function saveView(picture, caption, name) {
  if (!picture.tile) return;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [picture.canvas.width, picture.canvas.height];
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [width, height + CAPTION * ratio];
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.drawImage(picture.canvas, 0, 0);
  pen.fillStyle = "#fff";
  pen.font = `${14 * ratio}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  pen.fillText(caption, 8 * ratio, height + (CAPTION * ratio) / 2, width - 16 * ratio);
  sheet.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// Copy an address; where the browser does not allow it, show it.
export async function copy(button, address) {
  const text = button.textContent;
  button.dataset.address = address;
  try {
    await navigator.clipboard.writeText(address);
    button.textContent = "copied";
  } catch {
    prompt("the link", address);
  }
  setTimeout(() => (button.textContent = text), 1500);
}
