"""The grammar of model terms and the columns it makes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.design import Term, design_matrix, parse_terms


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("age", ["age"]),
        ("early_opioid + age + sex", ["early_opioid", "age", "sex"]),
        ("age:sex", ["age:sex"]),
        ("a*b", ["a", "b", "a:b"]),
        ("a*b*c", ["a", "b", "c", "a:b", "a:c", "b:c", "a:b:c"]),
        ("a + a*b + b", ["a", "b", "a:b"]),  # a term written twice is one term
        ("a:b + b:a", ["a:b"]),
        ("a*b:c", ["a", "b:c", "a:b:c"]),  # ':' binds tighter than '*', as in R
        ("  _x1 +\ty ", ["_x1", "y"]),
    ],
)
def test_terms_in_the_order_written(formula: str, terms: list[str]) -> None:
    assert [term.name for term in parse_terms(formula)] == terms


@pytest.mark.parametrize(
    ("formula", "position"),
    [
        ("", 1),
        ("   ", 1),
        ("age +", 5),
        ("+ age", 1),
        ("age + + sex", 7),
        ("age sex", 5),
        ("age:", 4),
        ("a * ", 3),
        ("a::b", 3),
        ("a:a", 1),
        ("1 + age", 1),
        ("age + I(age)", 8),
        ("age ** 2", 8),
        ("age - 1", 5),
        ("log(age)", 4),
        ("a.b", 2),
        ("`age`", 1),
        ("age\n+ sex", 4),
        ("x + {__import__('os').system('id')}", 5),
        ("ägë", 1),
        ("a + b; c", 6),
    ],
)
def test_text_outside_the_grammar_is_refused_with_its_position(formula: str, position: int) -> None:
    with pytest.raises(StudyError, match=rf"position {position}\b"):
        parse_terms(formula)


def test_columns_of_numbers_booleans_text_and_products() -> None:
    frame = pl.DataFrame(
        {
            "age": [50, 60, 70],
            "exposed": [True, False, True],
            "sex": ["male", "female", "male"],
            "dose": [0.5, 1.5, 2.5],
        }
    )
    design = design_matrix(frame.lazy(), "age + exposed + sex + dose:sex + exposed:age")
    assert design.names == ("age", "exposed", "sex[male]", "dose:sex[male]", "exposed:age")
    assert design.references == {"sex": "female"}
    assert design.term_of == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(design.matrix, [[50, 1, 1, 0.5, 50], [60, 0, 0, 0, 0], [70, 1, 1, 2.5, 70]])


def test_text_levels_are_sorted_whatever_the_type() -> None:
    # Enum and Categorical have an order of their own; the reference must not depend on it
    for dtype in (pl.String, pl.Enum(["w", "s", "m"]), pl.Categorical):
        design = design_matrix({"g": pl.Series(["w", "s", "m", "s"], dtype=dtype)}, (Term(("g",)),))
        assert design.names == ("g[s]", "g[w]")
        assert design.levels == {"g": ("m", "s", "w")}
        np.testing.assert_array_equal(design.matrix, [[0, 1], [1, 0], [0, 0], [1, 0]])


def test_declared_levels_let_a_bucket_show_fewer() -> None:
    design = design_matrix({"g": ["b", "b"]}, "g", levels={"g": ["c", "a", "b"]})
    assert design.names == ("g[a]", "g[b]")
    np.testing.assert_array_equal(design.matrix, [[0, 1], [0, 1]])
    with pytest.raises(InputRefusedError, match=r"column g has levels other than those declared in 1 rows"):
        design_matrix({"g": ["b", "z"]}, "g", levels={"g": ["a", "b"]})


def test_missing_values_are_refused_unless_leaving_them_out_is_asked_for() -> None:
    frame = {"x": [1.0, None, float("nan"), 4.0], "g": ["a", "b", "a", None]}
    with pytest.raises(InputRefusedError, match=r"x in 2 rows, g in 1 rows"):
        design_matrix(frame, "x + g")
    with pytest.raises(NotEstimableError, match="single_level"):  # only 'a' is left
        design_matrix(frame, "x + g", missing="leave_out")
    design = design_matrix(frame, "x", missing="leave_out")
    assert design.n_missing == 2
    np.testing.assert_array_equal(design.kept, [True, False, False, True])
    np.testing.assert_array_equal(design.matrix, [[1.0], [4.0]])


def test_unusable_columns_are_named_and_no_value_is_shown() -> None:
    with pytest.raises(InputRefusedError, match=r"term nope='nope'"):
        design_matrix({"x": [1.0]}, "nope")
    with pytest.raises(InputRefusedError, match=r"column x is infinite in 1 rows"):
        design_matrix({"x": [1.0, float("inf")]}, "x")
    with pytest.raises(InputRefusedError, match="must be a number, a Boolean or text"):
        design_matrix({"x": [[1], [2]]}, "x")


@pytest.mark.parametrize("module", ["design", "cox", "cox_buckets", "cox_kernels", "fine_gray"])
def test_rooms_load_neither_pandas_nor_lifelines(module: str) -> None:
    # and numba only where the loops are; the fitters of lifelines' interface load theirs when asked for
    unwanted = ["pandas", "lifelines", "formulaic", "matplotlib", *(["numba"] if module != "cox_kernels" else [])]
    code = f"import sys, cohort.survival.{module}; sys.exit(any(m in sys.modules for m in {unwanted}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
