"""The seccomp filter: its numbers against the kernel's headers, its decisions against an interpreter."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the filters are Linux's", allow_module_level=True)

from labkit.grading import filters

HEADERS = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}


@pytest.mark.parametrize("machine", sorted(HEADERS))
def test_the_numbers_of_system_calls_are_right(machine):
    file = Path("/usr/include", HEADERS[machine])
    if not file.is_file():
        pytest.skip("the kernel's headers are not installed")
    text = file.read_text()
    column = filters._MACHINES[machine][1]
    calls = filters.DENIED | {name: numbers for name, (numbers, _) in filters.OWN_ONLY.items()}
    for name, numbers in calls.items():
        if found := re.search(rf"#define __NR(?:3264)?_{name}\s+(\d+)", text):
            assert int(found[1]) == numbers[column], name


@pytest.mark.parametrize("sockets", [True, False])
@pytest.mark.parametrize("machine", sorted(HEADERS))
def test_the_filter_decides_as_it_should(machine, sockets):
    """Runs the filter as the kernel would, on every call it names and on some it does not."""
    arch, column = filters._MACHINES[machine]
    code = filters.program(sockets, machine)

    def allowed(number, *arguments, arch=arch):
        return interpret(code, number, arch, arguments) == filters._ALLOW

    for name, numbers in filters.DENIED.items():
        assert not allowed(numbers[column]), name
    for name, (numbers, which) in filters.OWN_ONLY.items():
        assert allowed(numbers[column], 0, 0), name
        assert not allowed(numbers[column], *([0] * which), 77), name
    for number in (0, 1, 63, 9999):
        assert allowed(number)
        assert not allowed(number, arch=0x40000003), "another machine's calls have other numbers"
    clone, clone3, socket = (pair[column] for pair in (filters._CLONE, filters._CLONE3, filters._SOCKET))
    assert allowed(clone, 0x1200011) and not allowed(clone, 0x10000011) and not allowed(clone3)
    families = {family: allowed(socket, family) for family in (1, 2, 10, 16, 17, 38, 40)}
    assert families == {family: sockets and family in (1, 2, 10, 16) for family in families}
    if machine == "x86_64":
        assert not allowed(0x40000000 + 101)


def interpret(code: bytes, number: int, arch: int, arguments: tuple) -> int:
    """Classic BPF over seccomp_data."""
    words = {0: number, 4: arch, **{16 + 8 * i: value for i, value in enumerate((*arguments, *[0] * 6)[:6])}}
    steps = [tuple(step) for step in struct.iter_unpack("<HBBI", code)]
    at = register = 0
    while True:
        operation, yes, no, value = steps[at]
        at += 1
        if operation == filters._RETURN:
            return value
        if operation == filters._LOAD:
            register = words[value]
            continue
        tests = {filters._EQUAL: register == value, filters._AT_LEAST: register >= value}
        at += yes if tests.get(operation, bool(register & value)) else no
