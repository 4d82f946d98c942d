"""The dialogs: a choice whose safe answer has the focus, and a line of text to give a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.core.inputs import CancelPlan, DrainPlan
from engine.core.state import RunPhase
from engine.ground.text import one_line
from engine.plan.model import FailureMode
from tui.commands import THE_RUN, Question, foretell, foretell_failure
from tui.feed import Feed
from tui.keymap import Place, bindings
from tui.plain.marks import MODE_WORDS
from tui.present import look_of

RENEWED_EVERY: Final = 0.5
"""Seconds after which an open dialog says again what would be done."""


class Choice(NamedTuple):
    """One answer. key: a letter that gives it at once; not j or k, which move."""

    key: str
    label: str
    value: str


class Choices(Widget, can_focus=True):
    """The answers, one a line, of which one is lit."""

    DEFAULT_CSS = "Choices { width: 1fr; height: auto; }"

    class Chosen(Message):
        """An answer was given."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self, choices: Sequence[Choice], lit: int) -> None:
        super().__init__()
        self._choices = choices
        self.lit = lit

    def get_content_height(self, *_: object) -> int:
        return len(self._choices)

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        choice = self._choices[y]
        is_lit = y == self.lit
        pointer = (">" if look.plain else "▸") if is_lit else " "
        text = look.cut(f" {pointer} {choice.label}", self.size.width - 8)
        line = [
            Segment(text.ljust(self.size.width - 8), look.bold if is_lit else look.text),
            Segment(f"{choice.key:>6}  ", look.key),
        ]
        ground = self.rich_style + look.cursor if is_lit else self.rich_style
        return Strip(Segment.apply_style(line, ground)).adjust_cell_length(self.size.width, ground)

    def on_key(self, event: events.Key) -> None:
        """Keys of a menu, which mean the same in every dialog and are not remapped."""
        if event.key in ("down", "j", "tab"):
            self._light(self.lit + 1)
        elif event.key in ("up", "k", "shift+tab"):
            self._light(self.lit - 1)
        elif event.key == "enter":
            self.post_message(self.Chosen(self._choices[self.lit].value))
        else:
            for choice in self._choices:
                if event.character is not None and event.character == choice.key:
                    self.post_message(self.Chosen(choice.value))
                    break
            else:
                return
        event.stop()
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        if 0 <= event.y < len(self._choices):
            self.post_message(self.Chosen(self._choices[event.y].value))

    def _light(self, line: int) -> None:
        self.lit = line % len(self._choices)
        self.refresh()


class Dialog(ModalScreen[str | None], inherit_bindings=False):
    """A title, what it is about, and answers. Escape gives the safe one, which is None."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.DIALOG)

    def __init__(
        self,
        title: str,
        words: Sequence[str],
        choices: Sequence[Choice],
        lit: int = 0,
        *,
        id: str | None = None,
        renew: Callable[[], Sequence[str] | None] | None = None,
    ) -> None:
        """renew: the words as they should be now; None if there is nothing to be asked any more, which
        closes the dialog with the safe answer."""
        super().__init__(id=id)
        self._renew = renew
        self._title = title
        self._words = words
        self.choices = choices
        self._lit = lit

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            # Text, never a string: names are no markup
            yield Static(Text(self._title, style="bold"), classes="title", markup=False)
            for words in self._words:
                yield Static(Text(words), classes="words", markup=False)
            yield Choices(self.choices, self._lit)

    def on_mount(self) -> None:
        if self._renew is not None:
            self.set_interval(RENEWED_EVERY, self.renew)

    def renew(self) -> None:
        """The run goes on while the dialog is open: say what is true now."""
        if not self.is_current:
            return  # answered, or another lies over it
        words = self._renew() if self._renew is not None else self._words
        if words is None:
            self.dismiss(None)
        elif tuple(words) != tuple(self._words):
            self._words = words
            for shown, text in zip(self.query(".words").results(Static), words, strict=False):
                shown.update(Text(text))

    def on_choices_chosen(self, message: Choices.Chosen) -> None:
        self.dismiss(message.value or None)

    def action_close(self) -> None:
        self.dismiss(None)


def confirm(question: Question, renew: Callable[[], Question | None] | None = None) -> Dialog:
    """Yes or no. Answers "yes" or None. renew: the question as it would be asked now, if it still would."""

    def words() -> Sequence[str] | None:
        fresh = renew() if renew is not None else question
        return None if fresh is None else fresh.words

    choices = (Choice("n", question.no, ""), Choice("y", question.yes, "yes"))
    return Dialog(question.title, question.words, choices, renew=words)


def ask_to_quit(feed: Feed, *, can_detach: bool = False) -> Dialog:
    """What becomes of the run when the console is left. Answers "detached", "drain", "cancel", "kill" or
    None."""
    phase = feed.view.phase
    choices = [Choice("s", "Stay here", "")]
    if can_detach:
        choices.append(Choice("l", "Leave, and let the run go on", "detached"))
    if phase is RunPhase.CANCELLING:
        choices.append(Choice("h", "Hurry: kill what is left at once", "kill"))
    else:
        if phase is not RunPhase.DRAINING:
            choices.append(Choice("d", "Drain: finish what runs, then quit", "drain"))
        choices.append(Choice("c", "Cancel the run, then quit", "cancel"))

    def words() -> Sequence[str]:
        if phase is RunPhase.CANCELLING:
            return ["The run is being cancelled; the console closes when all has stopped."]
        if phase is RunPhase.DRAINING:
            drains = "The run is draining; the console closes when it is done."
        else:
            drains = f"Draining: {foretell(feed.view, DrainPlan())}"
        return [drains, f"Cancelling: {foretell(feed.view, CancelPlan())}"]

    return Dialog("The run is not over. Quit?", words(), choices, id="quit", renew=words)


_MODE_MEANS: Final = {
    FailureMode.FAIL_FAST: ("f", "the first failure stops all"),
    FailureMode.CONTINUE_ON_ERROR: ("c", "independent tasks go on"),
    FailureMode.PAUSE_ON_FAILURE: ("p", "nothing new starts"),
}


def ask_failure_mode(feed: Feed, scope: int = THE_RUN) -> Dialog:
    """What a failure means from now on. scope: in a subplan, by its number. Answers with the mode's value;
    the one in force is lit."""
    modes = tuple(FailureMode)
    choices = [
        Choice(_MODE_MEANS[mode][0], f"{MODE_WORDS[mode]}: {_MODE_MEANS[mode][1]}", mode.value)
        for mode in modes
    ]

    def words() -> Sequence[str]:
        return ("It governs the failures that follow.", foretell_failure(feed.view, scope))

    governed = feed.view.scopes.all[scope]
    title = "When a task fails" if scope == THE_RUN else f"When a task of {one_line(governed.name)} fails"
    return Dialog(title, words(), choices, modes.index(governed.failure_mode), renew=words)


def ask_settlement(title: str, offers: Mapping[str, str], renew: Callable[[], Mapping[str, str]]) -> Dialog:
    """Skip or mark succeeded. offers: what each would bring about; renew: what it would be now. Answers
    "skip", "mark" or None."""
    labels = {
        "skip": ("Skipping", "s", "Skip it"),
        "mark": ("Marking", "m", "Mark it succeeded, with a reason"),
    }

    def words() -> Sequence[str] | None:
        fresh = renew()
        return [_brings(labels[value][0], fresh.get(value)) for value in offers] if fresh else None

    choices = [Choice("n", "Leave it as it is", "")]
    choices += [Choice(labels[value][1], labels[value][2], value) for value in offers]
    return Dialog(
        title, [_brings(labels[value][0], brings) for value, brings in offers.items()], choices, renew=words
    )


def _brings(what: str, brings: str | None) -> str:
    return f"{what} {brings}." if brings else f"{what} is not possible any more."


class LineDialog(ModalScreen[str | None], inherit_bindings=False):
    """Asks for one line of text. Answers with it, or None.

    words: what it is for. value: what stands there at first. lack: what is said when there is nothing.
    """

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.DIALOG)

    def __init__(self, title: str, words: str, *, placeholder: str, value: str = "", lack: str) -> None:
        super().__init__()
        self._title = title
        self._words = words
        self._placeholder = placeholder
        self._value = value
        self._lack = lack

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, style="bold"), classes="title", markup=False)
            yield Static(self._words, classes="words", markup=False)
            yield Input(self._value, placeholder=self._placeholder, select_on_focus=False, compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        line = event.value.strip()
        if line:
            self.dismiss(line)
        else:
            self.notify(self._lack, severity="warning", markup=False)

    def action_close(self) -> None:
        self.dismiss(None)


def ask_reason(title: str) -> LineDialog:
    """For a reason, which goes to the audit trail."""
    words = "Why? It is kept with the event. Enter marks it, Esc leaves it."
    return LineDialog(title, words, placeholder="reason", lack="It needs a reason.")


def ask_path(title: str, value: str) -> LineDialog:
    """For a file to write to."""
    words = "To which file? Enter saves it, Esc leaves it."
    return LineDialog(title, words, placeholder="file", value=value, lack="It needs a file.")
