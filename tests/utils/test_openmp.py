"""How OpenMP's threads wait: chosen before torch is loaded, unless the user chose."""

import json
import os
import subprocess
import sys

import pytest

from zsrobust.utils.openmp import CHOSEN, VARIABLES


def run(code, **variables):
    """Run Python with only these of ``VARIABLES``; returns stdout and stderr."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**others, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout, found.stderr


def loaded(code, **variables):
    """What OpenMP says of its settings when it is loaded."""
    return run(code, OMP_DISPLAY_ENV="verbose", **variables)[1]


@pytest.mark.slow
def test_torch_is_loaded_with_it():
    unset = loaded("import torch")
    chosen = loaded("import torch", **CHOSEN)
    assert chosen != unset, "this OpenMP does not say what its settings are"
    assert loaded("import zsrobust, torch") == chosen
    assert loaded("import torch, zsrobust") == unset
    assert loaded("import zsrobust, torch", OMP_WAIT_POLICY="ACTIVE") == loaded(
        "import torch", OMP_WAIT_POLICY="ACTIVE"
    )


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_set_is_all_that_is_set(name):
    code = "import json, os, zsrobust; print(json.dumps(dict(os.environ)))"
    found = json.loads(run(code, **{name: "7"})[0])
    assert {key: found[key] for key in VARIABLES if key in found} == {name: "7"}


def test_nothing_is_set_where_torch_is_loaded():
    code = "import sys; sys.modules['torch'] = sys; import os, zsrobust; print(*os.environ)"
    assert set(run(code)[0].split()).isdisjoint(VARIABLES)
