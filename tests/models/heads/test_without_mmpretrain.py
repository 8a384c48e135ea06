from commands import run

CODE = """
import sys
sys.modules['mmpretrain'] = None
import mmrecall
print(hasattr(mmrecall.models, 'losses'), mmrecall.models.__all__)
for attempt in (lambda: mmrecall.models.heads, lambda: __import__('mmrecall.models.heads')):
    try:
        attempt()
    except ImportError as error:
        print(error)
print(hasattr(mmrecall.models, 'nothing'))
"""


def test_losses_are_there_and_heads_say_what_to_install():
    status, output = run('python', '-c', CODE)
    assert status == 0, output
    assert "True ['losses']" in output
    assert output.count('mmpretrain.models cannot be imported') == 2
    assert output.count('pip install "mmrecall[onedl]"') == 2
    assert output.rstrip().endswith('False')
