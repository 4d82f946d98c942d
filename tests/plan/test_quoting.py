"""References in shell text: no value ever becomes code, and every value arrives in one piece."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.plan.quoting import VARIABLE, Unquotable, expand
from engine.plan.references import MalformedReference

SHELLS = sorted({os.path.realpath(path) for name in ("sh", "bash", "dash") if (path := shutil.which(name))})
X = "${{ params.x }}"
Y = "${{ params.y }}"


def output(script: str, values: Mapping[str, str], shell: str = "/bin/sh") -> str:
    """What the shell prints. values: by the name of the param."""
    text, references = expand(script)
    own = {VARIABLE.format(n): values[reference.name] for n, reference in enumerate(references, 1)}
    result = subprocess.run(
        ["sh", "-c", text],  # by this name bash keeps to the standard
        executable=shell,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nowhere", **own},
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert result.stderr == b""
    return result.stdout.decode()


NASTY = [
    "",
    " ",
    "plain",
    "two words",
    "a  b\tc\n",
    "\n\nEOF\nrm -rf x\n",
    "EOF",
    "it's",
    'say "hi"',
    "$(echo CODE)",
    "`echo CODE`",
    "${HOME}",
    "$HOME",
    "$((1+1))",
    "; echo CODE",
    "| echo CODE",
    "' ; echo CODE ; '",
    '" ; echo CODE ; "',
    "'\"'\"'",
    ") ; echo CODE",
    "\\",
    "\\\\n",
    "a\\",
    "\\$(echo CODE)",
    "-n",
    "--help",
    "-e \\n",
    "*",
    "/*",
    "[a-z]?",
    "~",
    "!!",
    "!x",
    "#no comment",
    "a#b",
    "\u00e6\U0001f600",
    "${{ params.x }}",
    "$${{",
    "%s%n",
    "x=1",
    "\x1b[31m",
    "\r\n",
    "}",
    "${",
    "&&",
    ">out",
]

PLACES = {
    "plain": (f"printf '<%s>' {X}", "<{}>"),
    "twice, and another": (f"printf '<%s>' {X} {Y} {X}", "<{}><y><{}>"),
    "part of a word": (f"printf '<%s>' a{X}b", "<a{}b>"),
    "beside quotes": (f"printf '<%s>' 'a'{X}\"b\"", "<a{}b>"),
    "two in a word": (f"printf '<%s>' {X}{X}", "<{}{}>"),
    "double quotes": (f"printf '<%s>' \"v{X}\"", "<v{}>"),
    "double quotes with more": (
        f"V=1; printf '<%s>' \"a $V {X} \\\" $(echo b) `echo c` ${{V}}\"",
        '<a 1 {} " b c 1>',
    ),
    "single quotes": (f"printf '<%s>' 'a \"{X}\" $b'", '<a "{}" $b>'),
    "assignment": (f"V={X}; printf '<%s>' \"$V\"", "<{}>"),
    "assignment in quotes": (f"V=\"{X}\" && printf '<%s>' \"$V\"", "<{}>"),
    "environment of a command": (f"V={X} sh -c 'printf \"<%s>\" \"$V\"'", "<{}>"),
    "here-document": (f"cat <<EOF\na {X} '{X}' \"b\"\nEOF", "a {} '{}' \"b\"\n"),
    "here-document with tabs": (f"cat <<-  EOF\n\t\ta {X}\n\tEOF\necho", "a {}\n\n"),
    "here-document with a command": (f"cat <<EOF\n$(printf '<%s>' {X} \"{X}\")\nEOF", "<{}><{}>\n"),
    "two here-documents": (f"cat <<A; cat <<B\n1{X}\nA\n2{X}\nB\nprintf '<%s>' {X}", "1{}\n2{}\n<{}>"),
    "after a quoted here-document": (f"cat <<'E F'\n'$(\nE F\nprintf '<%s>' {X}", "'$(\n<{}>"),
    "command substitution": (f"printf '<%s>' \"$(printf '%s.' {X})\"", "<{}.>"),
    "command substitution in plain text": (f"V=$(printf '%s.' '{X}'); printf '<%s>' \"$V\"", "<{}.>"),
    "nested": (f"printf '<%s>' \"$(printf '%s.' \"$(printf '%s.' \"a{X}\")\")\"", "<a{}..>"),
    "case within a substitution": (
        f"printf '<%s>' \"$(case a in (b) echo b;; a) printf '%s.' {X};; esac)\" {X}", "<{}.><{}>",
    ),
    "case by the value": (f"case {X} in {X}) printf '<%s>' same;; *) echo other;; esac", "<same>"),
    "a comment": (f"# {X} it's `\nprintf '<%s>' {X}", "<{}>"),
    "a comment at the end": (f"printf '<%s>' {X} # \"{X}", "<{}>"),
    "no comment": (f"printf '<%s>' a#{X}", "<a#{}>"),
    "after a number sign in a parameter": (f"set --; printf '<%s>' \"$#{X}\" ${{#}}{X}", "<0{}><0{}>"),
    "after a parameter with quotes": (f"V=it; printf '<%s>' \"${{V:-it's}}{X}\" ${{V#'i'}}", "<it{}><t>"),
    "after arithmetic": (f"printf '<%s>' $((1 + (2 << 1))) {X}", "<5><{}>"),
    "in a subshell": (f"(cd / && (printf '<%s>' {X}))", "<{}>"),
    "after other expansions in quotes": (
        "V=ab; printf '<%s>' \"${V%'b'}X\" \"${V:-\"x}y\"}X\" \"\\`$\"X".replace("X", X),
        "<a{}><ab{}><`${}>",
    ),
    "in a function": (f"f() {{ printf '<%s>' \"$1\" {X}; }}; f a", "<a><{}>"),
    "in a loop": (f"for i in a {X}; do printf '<%s>' \"$i\"; done", "<a><{}>"),
    "after a backslash and a quote": (f"printf '<%s>' \\' {X} \"\\\"\" '\\' {X}", "<'><{}><\"><\\><{}>"),
    "before a line's end": (f"printf '<%s>' \\\n  {X}", "<{}>"),
    "escaped": (f"printf '<%s>' '$${{{{ params.x }}}}' {X}", "<${{ params.x }}><{}>"),
    "after single quotes with a dollar": (f"printf '<%s>' '$'{X} \"$\"{X} $ {X}", "<${}><${}><$><{}>"),
}  # fmt: skip


AWKWARD = 'it\'s\n"a"  $(echo CODE)`echo CODE`\\ * ${HOME} ;# EOF\nEOF\n\n'

TOGETHER = "\n".join(f"( {script}\n)\nprintf '\\036'" for script, _ in PLACES.values())


def told_together(value: str) -> str:
    return "".join(expected.replace("{}", value) + "\x1e" for _, expected in PLACES.values())


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", PLACES)
def test_an_awkward_value_arrives_as_it_is(place: str, shell: str) -> None:
    script, expected = PLACES[place]
    assert output(script, {"x": AWKWARD, "y": "y"}, shell) == expected.replace("{}", AWKWARD)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", NASTY)
def test_every_value_arrives_in_every_place(value: str, shell: str) -> None:
    assert output(TOGETHER, {"x": value, "y": "y"}, shell) == told_together(value)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=settings().max_examples // 2)  # each starts a shell
def test_any_text_arrives_in_every_place(value: str) -> None:
    assert output(TOGETHER, {"x": value, "y": "y"}) == told_together(value)


PIECES = st.sampled_from(
    ["'", '"', "`", "$(", ")", "((", "))", "$((", "${", "}", "\\", "\n", "#", " ", ";", "a", "case ", " in ",
     "esac", "<<E\n", "\nE\n", "<<'E'\n", "$'", "$", X, X, X]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join).filter(lambda script: f"${X}" not in script))
@settings(max_examples=settings().max_examples * 5)  # few of them are scripts
def test_whatever_the_script_a_value_is_never_parsed(script: str) -> None:
    """Garbled scripts are refused, or at worst get quotes that do not fit: the value still is no code."""
    try:
        text, references = expand(script)
    except Unquotable:
        return
    # the script has got expansions and quotes around them, and it has never seen the value
    assert len(references) <= 1
    between, written = text.split(f"${{{VARIABLE.format(1)}}}"), script.split(X)
    assert len(between) == len(written)
    for piece, own in zip(between, written, strict=True):
        assert own in piece
        assert piece.replace(own, "", 1).strip("'\"") == ""


REFUSED = {
    f"echo `echo {X}`": "no reference can stand between backticks, but in $(...)",
    f'echo "`echo {X}`"': "no reference can stand between backticks, but in $(...)",
    f"echo $(({X} + 1))": "no reference can stand within $((...)): a shell may run what it computes with",
    f'echo "$((1 + ({X})))"': "no reference can stand within $((...)): a shell may run what it computes with",
    f"(({X} > 1))": "no reference can stand within ((...)): a shell may run what it computes with",
    f"echo ${{V:-{X}}}": "no reference can stand within ${...}",
    f'echo "${{V:-"{X}"}}"': "no reference can stand within ${...}",
    f"cat <<'EOF'\n{X}\nEOF": "no reference can stand in a here-document after <<'EOF': it is not expanded",
    f"cat <<\\EOF\n{X}\nEOF": "no reference can stand in a here-document after <<\\EOF: it is not expanded",
    f"cat <<{X}\nEOF": "no reference can stand in the delimiter of a here-document",
    f"echo \\{X}": "no reference can stand after a backslash",
    f'echo "\\{X}"': "no reference can stand after a backslash",
    f"echo $'a{X}'": "no reference can stand between $' and '",
    f"echo 'it {X}": "the quotes and brackets of this script cannot be followed",
    f'echo "it {X}': "the quotes and brackets of this script cannot be followed",
    f"echo $(it {X}": "the quotes and brackets of this script cannot be followed",
    f"echo `it {X}": "the quotes and brackets of this script cannot be followed",
    f"echo $(cat <<E) {X}\nE": "the quotes and brackets of this script cannot be followed",
    f"echo ${{it {X}": "the quotes and brackets of this script cannot be followed",
    f"echo $((a) {X})": "the quotes and brackets of this script cannot be followed",
    f"echo $((it {X}": "the quotes and brackets of this script cannot be followed",
}  # fmt: skip


@pytest.mark.parametrize(("script", "message"), REFUSED.items())
def test_where_no_quotes_would_do(script: str, message: str) -> None:
    with pytest.raises(Unquotable) as caught:
        expand(script)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "script",
    [
        f"((1 + 2)); echo {X}",
        f"((echo a); echo b); echo {X}",
        f"cat <<< a'b' {X}",
        f"echo {X} && cat <<EOF\na'",
    ],
)
def test_what_only_some_shells_know(script: str) -> None:
    assert expand(script).text == script.replace(X, '"${PLANDECK_VALUE_1}"')


def test_a_script_without_references_is_not_even_read() -> None:
    script = "echo `it's $((' # \\"
    assert expand(script) == (script, ())


def test_a_reference_that_is_none() -> None:
    with pytest.raises(MalformedReference):
        expand("echo ${{ x }}")
