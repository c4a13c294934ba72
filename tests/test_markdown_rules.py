"""A response is read as it was meant, in every script: lines, tags, maths, marks, directions and thinking."""

from __future__ import annotations

import re

import pytest

from app.kernel.markup import to_html
from tests.test_markup import Walk


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one<br>two<br/>three<BR />\nfour", "one<br>\ntwo<br>\nthree<br>\nfour"),
        ("H<sub>2</sub>O, x<SUP>2</SUP>", "H<sub>2</sub>O, x<sup>2</sup>"),
        ("<u>a *b*</u> <mark>c</mark> <kbd>d</kbd>", "<u>a <em>b</em></u> <mark>c</mark> <kbd>d</kbd>"),
        ("<sub>a<sub>b</sub></sub>", "<sub>a<sub>b</sub></sub>"),
        ("<code>a*b*c &lt;</code>", "<code>a*b*c &lt;</code>"),
        ("`<br>` and <b>`</b>`</b>", "<code>&lt;br&gt;</code> and <b>`</b>`&lt;/b&gt;"),
    ],
)
def test_harmless_tags_do_what_they_say(text: str, html: str) -> None:
    assert to_html(text).strip() == f'<p dir="auto">{html}</p>'


def test_a_cell_of_a_table_has_lines() -> None:
    assert '<td dir="auto">one<br>\ntwo</td>' in to_html("|a|\n|-|\n|one<br>two|")


@pytest.mark.parametrize("around", ["{}", "> {}", "- {}", "1. {}", "<think>{}</think>"])
def test_a_line_that_ends_is_seen_to_end(around: str) -> None:
    first, *more = "Roses are red,", "violets are blue."
    broken = around.format("\n".join([first, *(" " * around.index("{") * ("<" not in around) + each for each in more)]))
    assert "red,<br>\nviolets" in to_html(broken)
    assert to_html(broken) != to_html(around.format(" ".join([first, *more])))


@pytest.mark.parametrize(
    "text",
    [
        "the $n$th and $i$s",
        "当$x$为零，$y$",
        "**$x$**",
        "${x}^2$",
        "$x$-axis",
        "$1/2$ of $100$",
        "$AB$",
        "$x \\text{ if } y$",
        "$2 \\times 3$",
        "$a \\bmod n$",
        "$速度 = \\frac{路程}{时间}$",
        "$k=1,2,3$",
        "$$ Total = 5 + 6 $$",
        "$\\$5$",
        "$f$(x)",
    ],
)
def test_formulas_of_many_kinds_are_maths(text: str) -> None:
    html = to_html(text)
    assert "<math" in html
    assert "$" not in Walk(html).said.replace("$5", "")


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 today and $6 tomorrow.",
        "$HOME/$USER and $PATH:$HOME",
        "${HOME}/${USER}, ${total} of ${max}$",
        "US$5/A$6, 10$",
        "$6, 10$; $5 and 10$; $5 (or 6$)",
        "$5/month, 10$/year",
        "价格是$5，或者10$",
        "$5 или 10$",
        "$a=$b; $a, $b; $this->name . $other",
        "$(A)/$(B) $@/$#",
        "$AAPL, ($TSLA)",
        "pid $$ and $$ here",
        "$$ is moderate, $$$ is dear, unlike $$",
        "$ 5 $",
        "5$-10$",
    ],
)
def test_prices_and_variables_keep_their_dollars(text: str) -> None:
    html = to_html(text)
    assert "<math" not in html
    assert Walk(html).said.strip() == text


def test_an_escaped_dollar_is_a_dollar() -> None:
    assert to_html("\\$5 and \\$x\\$").strip() == '<p dir="auto">$5 and $x$</p>'


@pytest.mark.parametrize(("text", "said"), [("\\[1\\]", "[1]"), ("\\(see below here\\)", "(see below here)")])
def test_escaped_brackets_are_brackets(text: str, said: str) -> None:
    assert Walk(to_html(text)).said.strip() == said


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**重要：**请注意**时间：**下午", "<strong>重要：</strong>请注意<strong>时间：</strong>下午"),
        ("他说**“好。”**然后", "他说<strong>“好。”</strong>然后"),
        ("**重要!**Python", "<strong>重要!</strong>Python"),
        ("*注意：*请", "<em>注意：</em>请"),
        ("***注意：***请", "<em><strong>注意：</strong></em>请"),
        ("~~删除。~~然后", "<s>删除。</s>然后"),
        ("__重要：__请", "<strong>重要：</strong>请"),
        ("_重要。_请", "<em>重要。</em>请"),
        ("これは**「大事」**です", "これは<strong>「大事」</strong>です"),
        ("**중요(重要)**은", "<strong>중요(重要)</strong>은"),
        ("**สำคัญ:**คำ", "<strong>สำคัญ:</strong>คำ"),
        ("**هام:**ثم", "<strong>هام:</strong>ثم"),
        ("**Note:**text", "<strong>Note:</strong>text"),
    ],
)
def test_a_mark_closes_in_every_script(text: str, html: str) -> None:
    assert to_html(text).strip() == f'<p dir="auto">{html}</p>'


@pytest.mark.parametrize("text", ["2*(3+4)*5", "在__init__方法中", "数据_2024_最终.csv", "имя_файла_тут", "a * b * c"])
def test_a_sign_that_is_no_mark_stays(text: str) -> None:
    assert to_html(text).strip() == f'<p dir="auto">{text}</p>'


def test_what_holds_text_from_right_to_left_runs_that_way() -> None:
    html = to_html("- مرحبا\n\n> مرحبا\n\n1. مرحبا\n\n|مرحبا|b|\n|-|-|\n|1|2|")
    for part in ('<ul dir="rtl">', '<blockquote dir="rtl">', '<ol dir="rtl">', '<table dir="rtl">', '<li dir="rtl">'):
        assert part in html
    assert '<div class="md-scroll" dir="rtl">' in html, "a narrow table stands where the text begins"
    assert 'dir="rtl"' not in to_html("- a\n\n> b\n\n|c|\n|-|\n|مرحبا|\n\nمرحبا")


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("|1|2|3|", ["1", "2", "3"]),
        ("1 | 2 | 3 | *four*", ["1", "2", "3", "<em>four</em>"]),
        ("|1|2||4|", ["1", "2", "", "4"]),
        ("|1|2\\|3|", ["1", "2|3"]),
        ("|1|2| |", ["1", "2"]),
        ("|1|", ["1", ""]),
        ("|1|2|<script>|", ["1", "2", "&lt;script&gt;"]),
    ],
)
@pytest.mark.parametrize(("before", "under"), [("", ""), ("> ", "> "), ("- ", "  ")])
def test_a_row_shows_what_it_has_beyond_the_header(row: str, cells: list[str], before: str, under: str) -> None:
    text = before + f"\n{under}".join(["|a|b|", "|-|-|", row, "|x|y|"])
    _, first, second = to_html(text).split("<tr>")[1:]
    assert re.findall(r"<td[^>]*>(.*?)</td>", first) == cells
    assert re.findall(r"<td[^>]*>(.*?)</td>", second) == ["x", "y"], "the rows below are as they were"


THOUGHTS = [
    "count.\n</think>\n\nThree.",
    "count.</think>Three.",
    "count. </think> Three.",
    "count\n</thinking>\nThree.",
    "<thought>count</thought>Three.",
    "<reasoning>count</reasoning>Three.",
    "<seed:think>count</seed:think>Three.",
    "[THINK]count[/THINK]Three.",
    "◁think▷count◁/think▷Three.",
    "<|START_THINKING|>count<|END_THINKING|>Three.",
    "<|channel|>analysis<|message|>count<|end|><|start|>assistant<|channel|>final<|message|>Three.",
]


@pytest.mark.parametrize("text", THOUGHTS)
def test_the_thinking_of_other_families_is_folded(text: str) -> None:
    folded, _, answer = str(to_html(text)).partition("</details>")
    assert folded.startswith('<details class="md-thinking"><summary>')
    assert "count" in Walk(folded).said
    assert Walk(answer).said.strip() == "Three."
    assert "hink" not in Walk(folded).said.removeprefix("Thinking")


@pytest.mark.parametrize(
    "text",
    [
        "Close it with </think> at the end.",
        "Close it with `</think>`.",
        "```\na\n</think>\n```",
        'The tag is "</think>".',
        "It writes <think>, a thought, and\n</think>",
        "</think>Answer",
    ],
)
def test_marks_of_thinking_that_are_only_spoken_of_are_text(text: str) -> None:
    assert "<details" not in to_html(text)
