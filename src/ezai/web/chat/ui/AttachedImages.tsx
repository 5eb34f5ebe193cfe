import type { Image } from "../model/conversation.ts";
import { IconButton } from "./IconButton.tsx";
import { dataUrl } from "./QuestionImages.tsx";

/** The images that go along with what is being written. */
export function AttachedImages({ images, onRemove }: { images: readonly Image[]; onRemove: (image: Image) => void }) {
  if (images.length === 0) return null;
  return (
    <ul class="attached">
      {images.map((image) => (
        <li key={image.data.slice(-32)}>
          <img src={dataUrl(image)} alt={image.name} />
          <IconButton icon="close" label={`Remove ${image.name}`} onClick={() => onRemove(image)} />
        </li>
      ))}
    </ul>
  );
}
