"""A page as a browser sees it, for tests."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(html)
        self.said = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        """Everything that the page links to or shows, places on the page itself left out."""
        found = [a[k] for _, a in self.tags for k in ("src", "href", "srcset") if k in a]
        return [link for link in found if not link.startswith("#")]
