"""A cache of yapf, because a runner formats its config several times, half of the time of a small training."""

from yapf.yapflib import yapf_api


def format_every_text_once():
    """Cache what yapf formats; call it before mmengine is imported, because the stock one imports the function."""
    format_code, formatted = yapf_api.FormatCode, {}

    def of_text(text, **options):
        if text not in formatted:
            formatted[text] = format_code(text, **options)
        return formatted[text]

    yapf_api.FormatCode = of_text
