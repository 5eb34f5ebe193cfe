import { useMemo } from "preact/hooks";
import type { Exchange } from "../model/conversation.ts";
import { currentConversation } from "../model/state.ts";
import { AnswerView } from "./AnswerView.tsx";
import { useFollowing } from "./following.ts";
import { IconButton } from "./IconButton.tsx";
import { usePage, useSelected } from "./page.ts";
import { QuestionView } from "./QuestionView.tsx";

/** The exchanges of the conversation, with the newest in view as it grows. */
export function Transcript() {
  const exchanges = useSelected((state) => currentConversation(state).exchanges);
  const { scroller, isFollowing, follow } = useFollowing();
  return (
    <div class="transcript" ref={scroller}>
      <div class="column">
        {exchanges.map((exchange, place) => (
          <ExchangeView key={exchange.id} exchange={exchange} isLast={place === exchanges.length - 1} />
        ))}
      </div>
      {!isFollowing && <IconButton class="to-latest" icon="down" label="Go to the latest" onClick={follow} />}
    </div>
  );
}

function ExchangeView({ exchange, isLast }: { exchange: Exchange; isLast: boolean }) {
  // The same element again is not looked at again: only the exchange that is being answered is.
  return useMemo(() => <QuestionAndAnswer exchange={exchange} isLast={isLast} />, [exchange, isLast]);
}

function QuestionAndAnswer({ exchange, isLast }: { exchange: Exchange; isLast: boolean }) {
  const { commands } = usePage();
  const answer = exchange.answers[exchange.shown];
  return (
    <section class="exchange">
      <QuestionView exchange={exchange} />
      {answer !== undefined && (
        <AnswerView
          answer={answer}
          exchange={exchange}
          isLast={isLast}
          onRetry={() => commands.retry()}
          onContinue={() => commands.continueAnswer()}
        />
      )}
    </section>
  );
}
