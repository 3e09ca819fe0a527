"""What a publish says: every bad input with its code, and that nothing else can come out."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerdata import errors
from peerdata.api.publishing import understand
from peerdata.api.routes import parameters
from peerdata.errors import RequestInvalid
from peerdata.service.rules import check_meta

GOOD = b'{"meta": {"k": "v"}}'


def say(query: str = "", body: bytes = b"") -> tuple[dict[str, str], bool]:
    """What the service understands, up to the check of keys and values."""
    meta, shared = understand(parameters(query.encode()), body)
    check_meta(meta, max_value_chars=255)
    return meta, shared


@pytest.mark.parametrize(
    ("query", "body", "meta", "shared"),
    [
        ("", GOOD, {"k": "v"}, False),
        ("shared=project", GOOD, {"k": "v"}, True),
        ("meta.k=v", b"", {"k": "v"}, False),
        ("shared=project&meta.k=v&meta.k2=v2", b"", {"k": "v", "k2": "v2"}, True),
        ("meta.k2=v2&meta.k=v&shared=project", b"", {"k": "v", "k2": "v2"}, True),
        ("meta.k=", b"", {"k": ""}, False),
        ("meta.k", b"", {"k": ""}, False),
        ("meta.a+b=c+d", b"", {"a b": "c d"}, False),
        ("meta.k=a%20b%2Bc%26d%3De", b"", {"k": "a b+c&d=e"}, False),
        ("meta.k=a=b=c", b"", {"k": "a=b=c"}, False),
        ("meta.k=%zz%", b"", {"k": "%zz%"}, False),
        ("meta.k=a;b", b"", {"k": "a;b"}, False),
        ("meta.k=%C3%BC", b"", {"k": "ü"}, False),
        ("meta.k=%F0%9F%99%82", b"", {"k": "🙂"}, False),
        ("%6Deta.k=v", b"", {"k": "v"}, False),
        ("meta.meta.k=v", b"", {"meta.k": "v"}, False),
        ("&&meta.k=v&", b"", {"k": "v"}, False),
        ("", b' \r\n{ "meta" : { "k" : "v" } } \n', {"k": "v"}, False),
        ("", b'{"meta": {"k": "\\u00fc\\ud83d\\ude42"}}', {"k": "ü🙂"}, False),
        ("", '{"meta": {"k": "ü🙂"}}'.encode(), {"k": "ü🙂"}, False),
        ("", b'{"meta": {"\\u006b": "v"}}', {"k": "v"}, False),
        ("", b'{"meta": {"a": "1", "b": "2"}}', {"a": "1", "b": "2"}, False),
    ],
)
def test_a_good_publish_is_understood(query: str, body: bytes, meta: dict[str, str], shared: bool) -> None:
    assert say(query, body) == (meta, shared)


BAD = [
    ("empty body", "", b"", errors.BodyEmpty),
    ("empty body, only shared", "shared=project", b"", errors.BodyEmpty),
    ("white space as body", "", b" \n", errors.BodyNotJson),
    ("cut JSON", "", b'{"meta": {"k": "v', errors.BodyNotJson),
    ("JSON cut before its end", "", b'{"meta": {"k": "v"}', errors.BodyNotJson),
    ("something behind the JSON", "", GOOD + b"x", errors.BodyNotJson),
    ("two documents", "", GOOD + GOOD, errors.BodyNotJson),
    ("a form", "", b"meta.k=v", errors.BodyNotJson),
    ("single quotes", "", b"{'meta': {'k': 'v'}}", errors.BodyNotJson),
    ("comma at the end", "", b'{"meta": {"k": "v",}}', errors.BodyNotJson),
    ("raw line break in a value", "", b'{"meta": {"k": "a\nb"}}', errors.BodyNotJson),
    ("byte order mark", "", b"\xef\xbb\xbf" + GOOD, errors.BodyNotJson),
    ("brackets without end", "", b"[" * 65_536, errors.BodyNotJson),
    ("objects without end", "", b'{"meta":' * 8_000, errors.BodyNotJson),
    ("a number of ten thousand digits", "", b'{"meta": {"k": ' + b"1" * 10_000 + b"}}", errors.BodyNotJson),
    ("zero bytes", "", b"\0" * 10, errors.BodyNotJson),
    ("not UTF-8", "", b'{"meta": {"k": "\xff"}}', errors.BodyNotUtf8),
    ("latin-1", "", '{"meta": {"k": "ü"}}'.encode("latin-1"), errors.BodyNotUtf8),
    ("UTF-16", "", '{"meta": {"k": "v"}}'.encode("utf-16"), errors.BodyNotUtf8),
    ("UTF-8 cut within a character", "", '{"meta": {"k": "ü'.encode()[:-1], errors.BodyNotUtf8),
    ("a surrogate as UTF-8", "", b'{"meta": {"k": "\xed\xa0\x80"}}', errors.BodyNotUtf8),
    ("null", "", b"null", errors.BodyNotObject),
    ("a list", "", b'[{"meta": {"k": "v"}}]', errors.BodyNotObject),
    ("a string", "", b'"meta"', errors.BodyNotObject),
    ("a number", "", b"1", errors.BodyNotObject),
    ("NaN", "", b"NaN", errors.BodyNotObject),
    ("no meta", "", b"{}", errors.MetaMissing),
    ("no meta, but the keys", "", b'{"k": "v"}', errors.MetaMissing),
    ("Meta", "", b'{"Meta": {"k": "v"}}', errors.MetaMissing),
    ("empty meta", "", b'{"meta": {}}', errors.MetaEmpty),
    ("meta null", "", b'{"meta": null}', errors.MetaNotObject),
    ("meta a list", "", b'{"meta": ["k", "v"]}', errors.MetaNotObject),
    ("meta a list of pairs", "", b'{"meta": [["k", "v"]]}', errors.MetaNotObject),
    ("meta a string", "", b'{"meta": "k=v"}', errors.MetaNotObject),
    ("shared in the body", "", b'{"meta": {"k": "v"}, "shared": "project"}', errors.BodyMemberUnknown),
    ("a value that is a number", "", b'{"meta": {"k": 1}}', errors.ValueNotString),
    ("a value that is infinite", "", b'{"meta": {"k": 1e999}}', errors.ValueNotString),
    ("a value that is true", "", b'{"meta": {"k": true}}', errors.ValueNotString),
    ("a value that is null", "", b'{"meta": {"k": null}}', errors.ValueNotString),
    ("a value that is a list", "", b'{"meta": {"k": ["v"]}}', errors.ValueNotString),
    ("a value that is an object", "", b'{"meta": {"k": {"k": "v"}}}', errors.ValueNotString),
    ("a key twice in the body", "", b'{"meta": {"k": "v", "k": "v"}}', errors.KeyRepeated),
    ("a key twice, once escaped", "", b'{"meta": {"k": "v", "\\u006b": "w"}}', errors.KeyRepeated),
    ("meta twice in the body", "", b'{"meta": {"k": "v"}, "meta": {"k": "v"}}', errors.KeyRepeated),
    ("a key twice in the query", "meta.k=v&meta.k=v", b"", errors.KeyRepeated),
    ("a key twice in the query, once escaped", "meta.k=v&meta.%6b=w", b"", errors.KeyRepeated),
    ("a key too long", "", b'{"meta": {"' + b"k" * 244 + b'": "v"}}', errors.KeyInvalid),
    ("an empty key", "", b'{"meta": {"": "v"}}', errors.KeyInvalid),
    ("an empty key in the query", "meta.=v", b"", errors.KeyInvalid),
    ("a key outside the alphabet", "", b'{"meta": {"a/b": "v"}}', errors.KeyInvalid),
    ("a key with a line break behind", "meta.k%0A=v", b"", errors.KeyInvalid),
    ("a lone surrogate in a key", "", b'{"meta": {"k\\ud800": "v"}}', errors.KeyInvalid),
    ("a value too long", "", b'{"meta": {"k": "' + b"v" * 256 + b'"}}', errors.ValueTooLong),
    ("a value too long in the query", "meta.k=" + "v" * 256, b"", errors.ValueTooLong),
    ("a lone surrogate in a value", "", b'{"meta": {"k": "\\ud800"}}', errors.ValueInvalid),
    ("surrogates the wrong way round", "", b'{"meta": {"k": "\\ude42\\ud83d"}}', errors.ValueInvalid),
    ("NUL in a value", "", b'{"meta": {"k": "\\u0000"}}', errors.ValueInvalid),
    ("NUL in a value of the query", "meta.k=a%00b", b"", errors.ValueInvalid),
    ("a surrogate in the query", "meta.k=%ED%A0%80", b"", errors.ParameterInvalid),
    ("a query that is not UTF-8", "meta.k=%E9", b"", errors.ParameterInvalid),
    ("chunk framing as a body", "", b"14\r\n" + GOOD + b"\r\n0\r\n\r\n", errors.BodyNotJson),
    ("chunk framing, cut", "", b"14\r\n{", errors.BodyNotJson),
    ("body and parameters", "meta.k=v", GOOD, errors.BodyAndParameters),
    ("body and parameters, the body not JSON", "meta.k=v", b"x", errors.BodyAndParameters),
    ("shared with another value", "shared=true&meta.k=v", b"", errors.SharedInvalid),
    ("shared in capitals", "shared=Project&meta.k=v", b"", errors.SharedInvalid),
    ("shared with white space", "shared=project+&meta.k=v", b"", errors.SharedInvalid),
    ("shared empty", "shared=&meta.k=v", b"", errors.SharedInvalid),
    ("shared without a value", "shared&meta.k=v", b"", errors.SharedInvalid),
    ("shared twice", "shared=project&shared=project&meta.k=v", b"", errors.SharedInvalid),
    ("shared twice, once other", "shared=project&meta.k=v&shared=no", b"", errors.SharedInvalid),
    ("share=project", "share=project&meta.k=v", b"", errors.ParameterUnknown),
    ("Shared=project", "Shared=project&meta.k=v", b"", errors.ParameterUnknown),
    ("wait", "wait=5&meta.k=v", b"", errors.ParameterUnknown),
    ("meta without a dot", "meta=k", b"", errors.ParameterUnknown),
    ("a parameter without a name", "=v&meta.k=v", b"", errors.ParameterUnknown),
    ("an unknown parameter beside a body", "k=v", GOOD, errors.ParameterUnknown),
]


@pytest.mark.parametrize(("query", "body", "refusal"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_refused_with_its_code_and_a_sentence(
    query: str, body: bytes, refusal: type[RequestInvalid]
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        say(query, body)
    assert type(refused.value) is refusal
    assert len(refused.value.message) > 20
    assert refused.value.message.isprintable()
    json.dumps(refused.value.facts, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("query", "body", "hint"),
    [
        ("", b"", "meta.KEY=VALUE"),
        ("", b'{"meta": {"k": "v', "meta.KEY=VALUE"),
        ("", b"14\r\n" + GOOD + b"\r\n0\r\n\r\n", "chunked"),
        ("", b'{"meta": {"k": "v"}, "shared": "project"}', "query string"),
        ("", b'{"meta": {"k": 1}}', "quotes"),
        ("share=project", GOOD, "shared=project"),
        ("shared=yes", GOOD, "shared=project"),
    ],
)
def test_the_message_says_what_would_work(query: str, body: bytes, hint: str) -> None:
    with pytest.raises(RequestInvalid, match=hint):
        say(query, body)


@pytest.mark.parametrize(
    ("query", "body", "first"),
    [
        ("shared=no&x=y", b"\xff", errors.SharedInvalid),
        ("x=y", b"\xff", errors.ParameterUnknown),
        ("x=y&meta.k=v", GOOD, errors.ParameterUnknown),
        ("", b'\xff{"meta": {"a/b": 1}}', errors.BodyNotUtf8),
        ("", b'{"meta": {"a/b": "v"}, "x": 1}', errors.BodyMemberUnknown),
    ],
)
def test_the_query_is_looked_at_before_the_body_and_the_body_before_the_keys(
    query: str, body: bytes, first: type[RequestInvalid]
) -> None:
    with pytest.raises(first):
        say(query, body)


# Whatever comes

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["meta", "k", "a/b", "shared"]) | st.text(st.characters()), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(["shared", "meta.", "meta.k", "meta.a/b", "meta", "share", ""]) | st.text(max_size=8)
QUERY = st.lists(st.tuples(NAMES, st.sampled_from(["project", ""]) | st.text(max_size=8)), max_size=4)


def assert_understood_or_invalid(query: Sequence[tuple[str, str]], body: bytes) -> None:
    refusal = None
    try:
        meta, shared = understand(query, body)
        assert type(shared) is bool
        assert all(type(key) is str and type(value) is str for key, value in meta.items())
        check_meta(meta, max_value_chars=255)
    except RequestInvalid as error:
        refusal = error
    if refusal:
        assert refusal.message.isprintable()
        json.dumps({"message": refusal.message, **refusal.facts}, ensure_ascii=False).encode()


@given(JSON)
def test_any_json_value_is_understood_or_invalid(value: Any) -> None:
    assert_understood_or_invalid([], json.dumps(value).encode())


@given(JSON)
def test_anything_in_the_place_of_meta_is_understood_or_invalid(value: Any) -> None:
    assert_understood_or_invalid([], json.dumps({"meta": value}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_invalid(body: bytes) -> None:
    assert_understood_or_invalid([], body)


@given(st.integers(0, 40), st.binary(max_size=3))
def test_a_body_that_was_cut_and_damaged_is_understood_or_invalid(length: int, noise: bytes) -> None:
    assert_understood_or_invalid([], b'{"meta": {"key": "value", "k2": "\\u00fc"}}'[:length] + noise)


@given(QUERY, st.just(b"") | st.just(GOOD) | st.binary(max_size=20))
def test_any_parameters_are_understood_or_invalid(query: list[tuple[str, str]], body: bytes) -> None:
    assert_understood_or_invalid(query, body)


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10), min_size=1), st.booleans())
def test_both_forms_mean_the_same(meta: dict[str, str], shared: bool) -> None:
    query = [("shared", "project")] if shared else []
    by_query = understand([*query, *((f"meta.{key}", value) for key, value in meta.items())], b"")
    by_body = understand(query, json.dumps({"meta": meta}).encode())
    assert by_query == by_body == (meta, shared)
