"""Words below small pictures: names broken into lines, and long ones shortened in their middle."""

from fewshot_cxr.visualise.style import wrapped


def shortened(name: str, n_letters: int) -> str:
    """Cut a name in its middle: its end tells films of one folder apart, its beginning says where they lie."""
    if len(name) <= n_letters:
        return name
    n_last = n_letters * 2 // 3
    return f"{name[: n_letters - n_last - 1]}…{name[len(name) - n_last :]}"


def caption_lines(text: str, width: int, *, n_lines: int = 6) -> str:
    """Break each line of a caption at `width` letters, a word longer than two such lines shortened; "…" beyond."""
    lines = [
        part
        for line in text.splitlines()
        for part in wrapped(" ".join(shortened(word, 2 * width - 2) for word in line.split()), width, 99).split("\n")
    ]
    return "\n".join(lines[:n_lines]) + "…" * (len(lines) > n_lines)
