"""What disks, networks and editors do to a file."""

from collections.abc import Callable

from hypothesis import strategies as st


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a file: what disks, networks and editors do to it, once or a few times."""
    kinds = ["flip", "set", "cut", "lose", "insert", "repeat", "swap", "zeros", "empty", "double"]
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(kinds),
                st.floats(0, 1, exclude_max=True),
                st.floats(0, 1, exclude_max=True),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def mutate(data: bytes) -> bytes:
        for kind, one, other, new in steps:
            first, last = sorted(int(place * len(data)) for place in (one, other))
            head, middle, tail = data[:first], data[first:last], data[last:]
            if kind == "flip":
                byte = bytes(value ^ 1 << new[0] % 8 for value in data[first : first + 1])
                data = head + byte + data[first + 1 :]
            elif kind == "set":
                data = head + new + data[first + len(new) :]
            else:
                data = {
                    "cut": head,
                    "lose": head + tail,
                    "insert": head + new + data[first:],
                    "repeat": head + middle + middle + tail,
                    "swap": tail + middle + head,
                    "zeros": head + bytes(len(middle)) + tail,
                    "empty": b"",
                    "double": data + data,
                }[kind]
        return data

    return mutate
