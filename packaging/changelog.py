"""Prints Debian's form of CHANGELOG.md: its first section, as the changes of the version that is packed."""

import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path


def entries(text):
    """The items of the first section; an item may go on over several lines."""
    section = text.split("\n## ", 2)[1]
    items = []
    for line in section.splitlines()[1:]:
        if line.startswith("- "):
            items.append(line[2:])
        elif line.startswith("  ") and items:
            items[-1] += " " + line.strip()
        elif line.startswith("### "):
            items.append(f"{line[4:].strip()}:")
    return items


def main():
    file, name, version, maintainer, seconds = sys.argv[1:]
    wrap = textwrap.TextWrapper(width=78, initial_indent="  * ", subsequent_indent="    ")
    date = datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%a, %d %b %Y %H:%M:%S +0000")
    print(f"{name} ({version}) unstable; urgency=medium\n")
    for item in entries(Path(file).read_text()):
        print(wrap.fill(item))
    print(f"\n -- {maintainer}  {date}")


if __name__ == "__main__":
    main()
