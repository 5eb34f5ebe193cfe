import type { Image } from "../model/conversation.ts";

/** The images of a question. */
export function QuestionImages({ images }: { images: readonly Image[] }) {
  if (images.length === 0) return null;
  return (
    <div class="images">
      {images.map((image) => (
        <img key={image.data.slice(-32)} src={dataUrl(image)} alt={image.name} />
      ))}
    </div>
  );
}

/** The image as an address that asks nobody for anything. */
export function dataUrl(image: Image): string {
  return `data:${image.mediaType};base64,${image.data}`;
}
