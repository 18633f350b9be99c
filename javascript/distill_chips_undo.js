// What was in a textbox before, whoever changed it: chips, typing, the captioner. Needs distill.js.
(function () {
    "use strict";

    const PAUSE_MS = 1200, KEPT = 300; // letters typed with no longer pause are one change

    // Nothing is ever lost: a change after an undo puts what was undone behind it, to be found by more undo.
    function history() {
        let past = [], future = [], now = null, typedAt = 0;

        function note(text, isTyped) {
            if (text === now) return;
            const goesOn = isTyped && Date.now() - typedAt < PAUSE_MS;
            if (now !== null && !goesOn) {
                past = [...past, now, ...(future.length ? [...future, now] : [])].slice(-KEPT);
                future = [];
            }
            typedAt = isTyped ? Date.now() : 0;
            now = text;
        }

        function undo() {
            if (!past.length) return null;
            future.unshift(now);
            return settle(past.pop());
        }

        function redo() {
            if (!future.length) return null;
            past.push(now);
            return settle(future.shift());
        }

        function settle(text) {
            typedAt = 0;
            now = text;
            return text;
        }

        return {
            note, undo, redo,
            canUndo: () => past.length > 0,
            canRedo: () => future.length > 0,
            isTyped: () => typedAt > 0,
        };
    }

    window.distill.history = history;
})();
