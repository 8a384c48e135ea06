"""Settings of the documentation site, which `make docs` builds.

The source folder is the repository, so that the pages' relative links hold on the site as on GitHub; a link to a file
that is no page, a config or a log, becomes a download.
"""

import contextlib
import io
import os
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import mmrecall

project = 'mmrecall'
author = copyright = 'The mmrecall developers'
release = mmrecall.__version__

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
root_doc = 'docs/index'
include_patterns = ['docs/**.md', 'docs/notebooks/*.ipynb', '[A-Z]*.md', 'configs/*/README.md']
# not searched
exclude_patterns = ['.*', 'build', 'data', 'dist', 'mmrecall', 'tests', 'work_dirs']

# anchors as GitHub makes them; a link to one that is missing is a warning
myst_heading_anchors = 6
# Markdown that GitHub knows nothing of: a line that begins with % would be left out
myst_disable_syntax = ['myst_line_comment', 'myst_block_break', 'myst_target']

# every build runs the notebooks, which have no outputs in the repository; an error in one ends the build
nb_execution_mode = 'force'
nb_execution_timeout = 600
nb_execution_raise_on_error = True

# `name` in a docstring is a link where it names something of the reference, and code otherwise
default_role = 'py:obj'
napoleon_custom_sections = ['Shape']
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 120
python_use_unqualified_type_names = True

html_theme = 'furo'
html_title = f'mmrecall {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_additional_pages = {'index': 'to_first_page.html'}
templates_path = ['_templates']


class CommandHelp(SphinxDirective):
    """The text that a command, a path from the root of the repository, prints with ``--help``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Run the command in this process, where PyTorch is imported already."""
        path = Path(self.env.srcdir) / self.arguments[0]
        self.env.note_dependency(path)
        with (
            patch.object(sys, 'argv', [self.arguments[0], '--help']),
            patch.dict(os.environ, COLUMNS='100'),
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.suppress(SystemExit),
        ):
            runpy.run_path(str(path), run_name='__main__')
        text = output.getvalue()
        return [nodes.literal_block(text, text, language='text', classes=['command-help'])]


def nearest_public(base: object) -> object:
    """Return a base class, or for a private one the first public class that it derives from."""
    if not isinstance(base, type):  # `NamedTuple` is a function
        return base
    return next(cls for cls in base.__mro__ if not cls.__name__.startswith('_'))


def name_public_bases(app: Sphinx, name: str, cls: type, options: dict, bases: list[object]) -> None:
    """Replace private bases in what a class is said to derive from."""
    bases[:] = map(nearest_public, bases)


def find_class(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Node) -> nodes.Node | None:
    """Find the class of a name such as `RecallLoss` or `mmrecall.RecallLoss` in whichever module it is documented."""
    package, _, name = node['reftarget'].rpartition('.')
    if node['refdomain'] != 'py' or package not in ('', 'mmrecall') or not name[:1].isupper():
        return None
    node['refspecific'] = True  # searches all modules
    return env.get_domain('py').resolve_xref(env, node['refdoc'], app.builder, node['reftype'], name, node, text)


def setup(app: Sphinx) -> None:
    """Add what is above; show Mermaid's diagrams as text, because its script would come from elsewhere."""
    app.connect('missing-reference', find_class)
    app.connect('autodoc-process-bases', name_public_bases)
    app.add_directive('command-help', CommandHelp)
    app.add_lexer('mermaid', TextLexer)
