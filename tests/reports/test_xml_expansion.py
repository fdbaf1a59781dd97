"""XML files that are small and that expat or Python would expand to gigabytes, or read in quadratic time."""

import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReportFile
from service.reports.model import UNTRUSTED_LIMITS
from tests.reports.conversions import convert_text

MANY: Final = 100_000
MIB: Final = 2**20
LIMIT_S: Final = 10.0  # each of the documents took between 12 s and an hour
MAX_GROWTH: Final = 32 * MIB
NO_DECLARATIONS: Final = "the DOCTYPE must not contain declarations"
NO_NAMES: Final = "more than 10000 different names of tags and attributes"


def repeated(pattern: str) -> str:
    return "".join(pattern % number for number in range(MANY))


CASES: Final = "<testcase/>" * MANY
DECLARATIONS: Final[Mapping[str, Callable[[], str]]] = {  # each text is built for its tests
    "default of an attribute": lambda: f'<!ATTLIST testcase name CDATA "{"A" * MIB}">',
    "fixed attribute": lambda: f'<!ATTLIST testcase name CDATA #FIXED "{"A" * MIB}">',
    "many defaults": lambda: "<!ATTLIST testcase " + repeated('a%x CDATA "" ') + ">",
    "many attributes without a default": lambda: f"<!ATTLIST testcase {repeated('a%x CDATA #IMPLIED ')}>",
    "many IDs": lambda: f"<!ATTLIST testcase {repeated('a%x ID #IMPLIED ')}>",
    "many enumerated values": lambda: f"<!ATTLIST testcase a ({repeated('v%x|')}v) #IMPLIED>",
    "attributes of many elements": lambda: repeated("<!ATTLIST a%x b CDATA #IMPLIED>"),
    "internal entity": lambda: f'<!ENTITY a "{"A" * MIB}">',
    "nested entities": lambda: (
        '<!ENTITY a "A">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    ),
    "recursive entities": lambda: '<!ENTITY a "&b;"><!ENTITY b "&a;">',
    "many entities": lambda: repeated('<!ENTITY e%x "a">'),
    "external entity": lambda: '<!ENTITY a SYSTEM "file:///etc/passwd">',
    "many external entities": lambda: repeated('<!ENTITY e%x SYSTEM "a">'),
    "unparsed entity": lambda: '<!NOTATION n SYSTEM "a"><!ENTITY a SYSTEM "b" NDATA n>',
    "parameter entity": lambda: "<!ENTITY % a \"<!ENTITY b 'c'>\"> %a;",
    "nested parameter entities": lambda: "".join(f'<!ENTITY % p{n} "{f"&#37;p{n - 1};" * 10}">' for n in range(1, 10)),
    "external parameter entity": lambda: '<!ENTITY % a SYSTEM "http://127.0.0.1/a.dtd"> %a;',
    "conditional section": lambda: '<!ENTITY % a "INCLUDE"> <![%a;[<!ENTITY b "c">]]>',
    "many notations": lambda: repeated('<!NOTATION n%x SYSTEM "a">'),
    "many elements": lambda: repeated("<!ELEMENT n%x ANY>"),
    "nested content model": lambda: f"<!ELEMENT a {'(' * MIB}b{')' * MIB}>",
    "processing instructions": lambda: repeated("<?a%x?>"),
    "comment": lambda: "<!--a-->",
    "nothing": lambda: " ",
}


@pytest.fixture
def parser() -> Iterator[ParserProcess]:
    parser = ParserProcess()
    yield parser
    parser.stop()


@pytest.mark.parametrize("external", ["", ' SYSTEM "report.dtd"', ' PUBLIC "report" "report.dtd"'])
@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_declarations_are_refused_before_they_are_expanded(declaration: str, external: str, tmp_path: Path) -> None:
    document = f"<!DOCTYPE a{external} [{DECLARATIONS[declaration]()}]><testsuite>{CASES}</testsuite>"
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(ReportError, match=NO_DECLARATIONS):
            convert_text(document, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(document) + MAX_GROWTH
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < LIMIT_S


@pytest.mark.parametrize(
    "doctype", ["<!DOCTYPE testsuite>", '<!DOCTYPE t SYSTEM "a.dtd">', '<!DOCTYPE t PUBLIC "a" "http://127.0.0.1/a">']
)
def test_doctype_without_declarations_is_read(doctype: str, tmp_path: Path) -> None:
    summary, _ = convert_text(f'{doctype}<testsuite><testcase name="a"/></testsuite>', tmp_path)
    assert summary.results == 1


LONG: Final = "c" * 17 * MIB
NO_LONG_TAG: Final = "a tag or comment that is larger than"
EXPANDING: Final[Mapping[str, tuple[Callable[[], str], str]]] = {
    "many tags": (lambda: "".join(map("<a{:x}/>".format, range(2 * MIB))), NO_NAMES),
    "many attributes": (lambda: "".join(map('<a a{:x}=""/>'.format, range(MIB))), NO_NAMES),
    "many attributes of one tag": (lambda: "<a " + " ".join(map('a{:x}=""'.format, range(MIB // 4))) + "/>", NO_NAMES),
    "many namespaces": (lambda: "".join(map('<a xmlns:b{:x}="c"/>'.format, range(MIB))), NO_NAMES),
    "deep nesting": (lambda: "<a>" * MIB, "nested more than 200 levels deep"),
    "long name": (lambda: f"<{LONG}/>", NO_LONG_TAG),
    "long attribute": (lambda: f'<a b="{LONG}"/>', NO_LONG_TAG),
    "long comment": (lambda: f"<!--{LONG}-->", NO_LONG_TAG),
    "long processing instruction": (lambda: f"<?a {LONG}?>", NO_LONG_TAG),
    "nested long attributes": (lambda: f'<testcase name="{LONG[: 12 * MIB]}">' * 6, "tags of more than"),
}


@pytest.mark.parametrize("kind", EXPANDING)
async def test_expanding_elements_are_refused_within_the_memory_of_untrusted_uploads(
    kind: str, tmp_path: Path, parser: ParserProcess
) -> None:
    elements, reason = EXPANDING[kind]
    source = tmp_path / "junit.xml"
    source.write_text(f"<testsuite>{elements()}</testsuite>")
    with pytest.raises(ReportError, match=reason):
        await parser.read([ReportFile(source, tmp_path / "read", None, None, None)], UNTRUSTED_LIMITS)
