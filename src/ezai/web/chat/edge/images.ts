/** A file that the user chose → an image that models take. */

import type { Image } from "../model/conversation.ts";

const TAKEN = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
const MAX_BYTES = 3.5 * 1024 * 1024;
const MAX_PIXELS_A_SIDE = 2000;
const QUALITY = 0.9;

export const ACCEPT = [...TAKEN].join(",");

/** The image, made smaller where models would do that anyway. Rejects with one sentence for a person. */
export async function readImage(file: File): Promise<Image> {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (bitmap === null) throw new Error(`${file.name} is no image that this browser can read.`);
  const isSmall = Math.max(bitmap.width, bitmap.height) <= MAX_PIXELS_A_SIDE && file.size <= MAX_BYTES;
  const blob = isSmall && TAKEN.has(file.type) ? file : await smaller(bitmap);
  bitmap.close();
  return { name: file.name, mediaType: blob.type, data: await base64(blob) };
}

async function smaller(bitmap: ImageBitmap): Promise<Blob> {
  const scale = Math.min(1, MAX_PIXELS_A_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}

function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
