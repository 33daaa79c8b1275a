"""What a file tells of its song: title, artist, ... and covers; and what of it the stems get."""

from dataclasses import dataclass, replace

BASIC = ("title", "artist", "album", "date", "tracknumber", "genre", "comment")
"""The tags that are carried without mutagen, as Vorbis comments name them."""

# Of the song alone: its loudness, its encoder's gaps and version, its fingerprint, its index, its places.
_NOT_CARRIED = (
    "replaygain", "r128_", "itun", "encod", "acoustid", "cuesheet", "metadata_block_picture",
    "waveformatextensible",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """Cover art.

    Attributes:
        data: A picture file.
        mime: Its type, such as image/png.
        kind: What it shows, as ID3 counts: 3 is the front cover.
        description: In words, mostly empty.
    """

    data: bytes
    mime: str
    kind: int
    description: str


@dataclass(frozen=True)
class Tags:
    """What a file tells of its song.

    Attributes:
        texts: Values by name, as Vorbis comments name them.
        pictures: Cover art.
    """

    texts: dict[str, list[str]]
    pictures: tuple[Picture, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.texts or self.pictures)

    @property
    def carried(self) -> "Tags":
        """Without what is empty, or true of the song alone and not of its stems."""
        kept = {
            name: values
            for name, values in self.texts.items()
            if values and not name.startswith(_NOT_CARRIED)
        }
        return replace(self, texts=kept)

    def of_stem(self, stem: str, track: str) -> "Tags":
        """The tags of a stem: its title says which one it is.

        Args:
            stem: "vocals", "accompaniment" or "mix".
            track: The title of a song that has none.
        """
        titles = self.texts.get("title") or [track]
        return replace(self, texts=self.texts | {"title": [f"{title} ({stem})" for title in titles]})
