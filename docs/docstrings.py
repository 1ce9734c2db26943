"""An extension of griffe, which reads the docstrings of the site's module pages (mkdocs.yml): they are plain text."""

import griffe


class PlainText(griffe.Extension):
    """`hits[slot][sample]` is no link of Markdown to somewhere called sample."""

    def on_object(self, *, obj, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("][", "]\\[")
