"""Bodies that hold the model's name somewhere: JSON and multipart, written in every way that is right but odd."""

import json
import math

from service import DEPLOYMENT, MODEL

# What JSON allows between two tokens.
SPACES = ["", "", "", " ", "\t", "\n", "\r\n", "  \t ", "\n\n    "]
LETTERS = 'abcXYZ019 _-/\\"\n\té漢🙂\u2028\x7f'


class Json:
    """Random JSON. All strings are written by hand, escapes and all, never by a library."""

    def __init__(self, chance):
        self.chance = chance

    def space(self):
        return self.chance.choice(SPACES)

    def text(self, value):
        return '"' + "".join(self.character(one) for one in value) + '"'

    def character(self, one):
        must = one in '"\\' or one < " "
        if not must and self.chance.random() < 0.9:
            return "\\/" if one == "/" and self.chance.random() < 0.5 else one
        units = one.encode("utf-16-be")
        digits = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        return "".join("\\u" + self.chance.choice([digit, digit.upper()]) for digit in digits)

    def word(self):
        return "".join(self.chance.choice(LETTERS) for _ in range(self.chance.randrange(12)))

    def number(self):
        chance = self.chance
        return chance.choice(
            [
                "0",
                "-0",
                "-0.0",
                "1E400",
                "1e-400",
                "1.0",
                "1.10",
                "1E+2",
                "123456789012345678901234567890",
                "-9223372036854775809",
                "0." + "3" * chance.randrange(1, 60),
                str(chance.randrange(10**18, 10**40)),
                repr(chance.uniform(-1, 1) * math.pi),
            ]
        )

    def value(self, depth):
        kind = self.chance.randrange(9 if depth else 6)
        if kind < 2:
            return self.text(self.word())
        if kind < 4:
            return self.number()
        if kind < 6:
            return self.chance.choice(["true", "false", "null"])
        if kind == 6:
            return self.array(depth - 1)
        return self.object([self.member(depth - 1) for _ in range(self.chance.randrange(5))])

    def array(self, depth):
        values = [self.space() + self.value(depth) + self.space() for _ in range(self.chance.randrange(5))]
        return "[" + (",".join(values) or self.space()) + "]"

    def member(self, depth):
        # The same few names again and again, so that many come twice; also the one that counts only at the top.
        name = self.chance.choice(["a", "a", "model", "stream", "messages", self.word()])
        return self.pair(self.text(name), self.value(depth))

    def pair(self, name, value):
        return self.space() + name + self.space() + ":" + self.space() + value + self.space()

    def object(self, members):
        return "{" + (",".join(members) or self.space()) + "}"

    def deep(self):
        """As deep as servers commonly take it."""
        depth = self.chance.randrange(20, 100)
        opening, closing = self.chance.choice([("[", "]"), ('{"model":', "}")])
        return opening * depth + self.number() + closing * depth


def json_body(chance, asked):
    """A body for an operation, as sent and as it should arrive. `asked` are members that the operation needs."""
    write = Json(chance)
    members = [write.pair(write.text(name), json.dumps(value)) for name, value in asked.items()]
    # Names of their own at the top: what decides the routing may stand there once.
    for number in range(chance.randrange(4)):
        value = write.deep() if chance.random() < 0.1 else write.value(3)
        members.append(write.pair(write.text(f"x-{number}-{write.word()}"), value))
    members.append(write.pair(write.text("messages"), write.array(3)))
    chance.shuffle(members)
    at = chance.randrange(len(members) + 1)
    before, name, between, behind = write.space(), write.text("model"), write.space(), write.space()
    lead, end = write.space(), write.space()

    def body(value):
        model = before + name + between + ":" + behind + value + end
        return (lead + write_object(members[:at] + [model] + members[at:]) + lead).encode()

    return body(write.text(MODEL)), body(f'"{DEPLOYMENT}"')


def write_object(members):
    return "{" + ",".join(members) + "}"


def form_body(chance):
    """A form with a file, as sent and as it should arrive, and its content type."""
    # What `boundary=` takes without quotes, and what it takes with them.
    letters, more = "abcXYZ019-_.+'", "()/:=?, "
    quoted = chance.random() < 0.3
    alphabet = letters + more if quoted else letters
    boundary = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 60))) + "x"
    parts = [
        part(chance, "file", noise(chance, boundary), filename="a.wav"),
        *(part(chance, f"x{number}", noise(chance, boundary)) for number in range(chance.randrange(4))),
    ]
    chance.shuffle(parts)
    at = chance.randrange(len(parts) + 1)
    head = part(chance, "model", b"")
    end = chance.choice([b"", b"\r\n"])

    def body(model):
        listed = parts[:at] + [head + model.encode()] + parts[at:]
        marked = b"".join(f"--{boundary}\r\n".encode() + one + b"\r\n" for one in listed)
        return marked + f"--{boundary}--".encode() + end

    shown = f'"{boundary}"' if quoted else boundary
    content_type = chance.choice(["multipart/form-data; boundary=", "Multipart/Form-Data;boundary="]) + shown
    return body(MODEL), body(DEPLOYMENT), content_type


def part(chance, name, content, filename=None):
    field = chance.choice(["Content-Disposition", "content-disposition", "CONTENT-DISPOSITION"])
    line = f'{field}: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    lines = [line] + ["Content-Type: application/octet-stream"] * (filename is not None)
    chance.shuffle(lines)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def noise(chance, boundary):
    """Bytes of any kind, ends of lines and what nearly is a boundary among them, but never the boundary."""
    near = f"\r\n--{boundary[:-1]}".encode()
    pieces = [b"\r\n", b"\r", b"\n", b"--", near, b'name="model"', b"\r\n\r\n", b"{}"]
    made = b"".join(
        chance.choice(pieces) if chance.random() < 0.3 else chance.randbytes(chance.randrange(20))
        for _ in range(chance.randrange(12))
    )
    return made.replace(f"--{boundary}".encode(), b"")
