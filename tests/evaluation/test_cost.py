"""What an evaluation is expected to cost before anything of it is known."""

import pytest

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.cost import expected_cost
from zsrobust.evaluation.forecast import RIGHT, STAND_FIRST


def _cost(n, attack, half_width=None):
    config = EvaluateConfig(
        model=["glyph-clip"], data=["digits"], attack=[attack], half_width=half_width
    )
    return expected_cost(config, [n], undefended=False)


@pytest.mark.parametrize(("n", "pilot"), [(500, 20), (4000, None)])
def test_two_phases_run_the_later_parts_on_a_pilot(n, pilot):
    standing = n * RIGHT * STAND_FIRST
    # At least 20 samples, or one in twenty.
    pilot = pilot or -(-standing // 20)
    first = _cost(n, "pgd-10")
    later = _cost(n, "pgd-10+autoattack") - first
    expected = first + later * pilot / standing
    assert _cost(n, "pgd-10+autoattack", half_width=1.0) == pytest.approx(expected, rel=1e-3)


def test_where_few_stand_two_phases_attack_all():
    assert _cost(20, "pgd-10+autoattack", half_width=1.0) == _cost(20, "pgd-10+autoattack")
