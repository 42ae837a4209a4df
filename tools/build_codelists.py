"""Build the shipped codelists and weights from the folder of facts: ``python tools/build_codelists.py FACTS``.

FACTS holds `pain_codes.csv`, `css_symptoms.csv`, `treatments.csv`, `charlson_icd10.csv`, `elixhauser_icd10.csv`,
`weights.csv` and `ndc_and_codes/`. The results are committed, so nobody needs the facts to use the package; this file
says how every row came about, and a test runs it where the facts are present.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from cohort.codes.codelist import EXCLUDED, Codelist
from cohort.codes.files import COLUMNS

VERSION = "1"
PACKAGE = Path(__file__).resolve().parents[1] / "src/cohort"
GZIP_ABOVE = 300_000  # bytes: what is longer than this nobody reads as text
SYNTHEA = "SNOMED CT, as recorded in Synthea exports"
SYNTHEA_DRUG = "RxNorm product, as recorded in Synthea exports; ingredient read from its name"
ICD_STRUCTURE = "ICD chapter structure: malignant neoplasms; skin other than melanoma left out"

CHRONIC_PAIN_SNOMED = {
    "82423001": "chronic pain",
    "124171000119105": "chronic intractable migraine without aura",
    "95417003": "primary fibromyalgia syndrome",
}
INJURY_SNOMED = {
    "sprain": {"44465007": "sprain of ankle", "70704007": "sprain of wrist"},
    "whiplash": {"39848009": "whiplash injury to neck"},
    "fracture": {
        "359817006": "closed fracture of hip",
        "16114001": "fracture of ankle",
        "58150001": "fracture of clavicle",
        "65966004": "fracture of forearm",
        "33737001": "fracture of rib",
        "1734006": "fracture of the vertebral column with spinal cord injury",
        "15724005": "fracture of vertebral column without spinal cord injury",
        "263102004": "fracture subluxation of wrist",
    },
    "ligament": {
        "444470001": "injury of anterior cruciate ligament",
        "444448004": "injury of medial collateral ligament of knee",
    },
    "tendon": {
        "307731004": "injury of tendon of the rotator cuff of shoulder",
        "30832001": "rupture of patellar tendon",
    },
    "meniscus": {"239720000": "tear of meniscus of knee"},
}
CANCER_SNOMED = {  # in-situ, suspected and "neoplasm, behaviour not stated" records are no evidence of active cancer
    "363406005": "malignant tumor of colon",
    "109838007": "overlapping malignant neoplasm of colon",
    "93761005": "primary malignant neoplasm of colon",
    "94260004": "secondary malignant neoplasm of colon",
    "424132000": "non-small cell carcinoma of lung, TNM stage 1",
    "254637007": "non-small cell lung cancer",
    "254632001": "small cell carcinoma of lung",
    "67811000119102": "primary small cell malignant neoplasm of lung, TNM stage 1",
    "314994000": "metastasis from malignant tumor of prostate",
}
SPINE_IMAGING = {  # pelvis without sacrum and injections for a discogram or myelogram are left out
    "radiograph": {
        "cpt": (
            *(72020, 72040, 72050, 72052, 72070, 72072, 72074, 72080, 72081, 72082, 72083, 72084),
            *(72100, 72110, 72114, 72120, 72200, 72202, 72220),
        ),
        "icd9proc": (8722, 8723, 8724, 8729),
        "icd10pcs": ("BR0",),
    },
    "ct": {"cpt": range(72125, 72134), "icd10pcs": ("BR2", "B02B")},
    "mri": {
        "cpt": (72141, 72142, *range(72146, 72150), 72156, 72157, 72158),
        "icd9proc": (8893,),
        "icd10pcs": ("BR3", "B03B"),
    },
    "myelogram": {"cpt": (72240, 72255, 72265, 72270), "icd9proc": (8721,), "icd10pcs": ("B01B",)},
}
"""Pictures of the spine by kind → coding system → codes; ICD codes stand for all that begin so."""
SPINE_SOURCES = {
    "cpt": "CPT 2024, radiology of spine and pelvis (72020-72270)",
    "icd9proc": "ICD-9-CM volume 3, 87.2 and 88.93",
    "icd10pcs": "ICD-10-PCS 2024, section B: body systems 0 (spinal cord) and R (axial skeleton)",
}
OPIOID_PRODUCTS = {  # alfentanil (480) and remifentanil (73032) are given under anaesthesia only and left out
    "1732136": ("morphine", "1 ML morphine sulfate 5 MG/ML injection"),
    "1860154": ("oxycodone", "abuse-deterrent 12 HR oxycodone hydrochloride 15 MG extended release oral tablet"),
    "1049221": ("oxycodone", "acetaminophen 325 MG / oxycodone hydrochloride 5 MG oral tablet"),
    "1049636": ("oxycodone", "acetaminophen 325 MG / oxycodone hydrochloride 2.5 MG [Percocet]"),
    "1310197": ("hydrocodone", "acetaminophen 300 MG / hydrocodone bitartrate 5 MG [Vicodin]"),
    "857005": ("hydrocodone", "acetaminophen 325 MG / hydrocodone bitartrate 7.5 MG oral tablet"),
    "856980": ("hydrocodone", "acetaminophen / hydrocodone"),
    "861467": ("meperidine", "meperidine hydrochloride 50 MG oral tablet"),
}
OPIOID_NDC_SOURCE = "CDC opioid NDC table 2016"
NOT_A_TREATMENT = ("not pain therapy", "not a pain treatment", "do not use", "salivary", "not a pain-specific")
"""Phrases in the facts' notes that mark a treatment row as unfit."""

INDICES = {
    "charlson_quan2005": "charlson_quan2005",
    "elixhauser_quan2005": "elixhauser_quan2005",
    "elixhauser_ahrq_refined_2025.1": "elixhauser_ahrq2025",
}
"""The facts' indices → ours."""

AHRQ, AHRQ_TABLE = "elixhauser_ahrq2025", "ndc_and_codes/medicalcoder_elixhauser_codes.csv.gz"
EARLIER = ("2022", "2023", "2024")
"""Earlier releases of AHRQ's map: that of 2025 without the codes it gained since, and with those it lost."""

SCORES = {
    "charlson1987": "score_1987",
    "quan2011": "score_2011",
    "vanwalraven2009": "score_van_walraven",
    "ahrq_refined_2023.1-2025.1_mortality": "score_ahrq_mortality",
    "ahrq_refined_2023.1-2025.1_readmission": "score_ahrq_readmission",
}
SCORES_2022 = {
    "ahrq_refined_2022.1_mortality": "score_ahrq_mortality",
    "ahrq_refined_2022.1_readmission": "score_ahrq_readmission",
}
"""The facts' weight sets → the names of the scores."""

MME_FORMS = {
    "oral": "oral",
    "oral (butorphanol: nasal/any)": "nasal",
    "buccal/SL tablet, lozenge": "buccal_tablet",
    "film or oral spray": "film",
    "nasal spray": "nasal",
    "transdermal patch": "patch",
    "transdermal": "patch",
}
"""The facts' dosage forms → ours."""

SYMPTOM_LISTS = {
    "sleep": ["sleep"],
    "fatigue": ["fatigue"],
    "mood": ["depression", "anxiety"],
    "cognition": ["cognitive"],
    "altered_sensation": ["sensory"],
    "posttraumatic_stress": ["ptsd"],
    "functional_somatic": ["functional_somatic"],
    "substance_use": ["opioid_use_disorder", "other_substance_use"],
}


def main(facts: Path, package: Path = PACKAGE) -> None:
    """Write every shipped list and table into the folders ``package``/…/data."""
    lists, tables = package / "codes/data", package / "features/data"
    for folder in (lists, tables):
        folder.mkdir(parents=True, exist_ok=True)
    for codelist in [*pain(facts), *symptoms(facts), *treatments(facts), *comorbidity(facts), *written_here()]:
        write(codelist, lists)
    weights(facts).write_csv(tables / "comorbidity_weights.csv")
    mme_factors(facts).write_csv(tables / "mme_factors.csv")
    products = opioid_strengths(facts).write_csv().encode()
    (tables / "opioid_products.csv.gz").write_bytes(gzip.compress(products, mtime=0))


def write(codelist: Codelist, data: Path) -> None:
    """Write one list; the same rows always give the same bytes."""
    text = f"# version: {codelist.version}\n{codelist.rows.write_csv()}".encode()
    if len(text) > GZIP_ABOVE:
        (data / f"{codelist.name}.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    else:
        (data / f"{codelist.name}.csv").write_bytes(text)


def pain(facts: Path) -> list[Codelist]:
    """Return the lists by region, mechanism, condition and explicit chronicity."""
    rows = read(facts / "pain_codes.csv").select(
        pl.all(), system(pl.col("code_system")), code="code_prefix", term="description_in_own_words"
    )
    regions = make("pain_regions", rows.with_columns(category="body_region"))
    explicit = make("all", rows.with_columns(category="chronic_explicit")).only(category="true").rows
    explicit = explicit.with_columns(category=pl.col("category").replace("true", "chronic_pain_explicit"))
    return [
        regions,
        make("low_back_pain", regions.only(category="low_back").rows),
        make("pain_mechanisms", rows.with_columns(category="pain_category")),
        make("pain_conditions", rows.with_columns(category="condition")),
        make("overlapping_pain_conditions", overlapping(rows)),
        make("chronic_pain_explicit", pl.concat([explicit, snomed("chronic_pain_explicit", CHRONIC_PAIN_SNOMED)])),
        make("chronic_pain_snomed", snomed("chronic_pain_snomed", CHRONIC_PAIN_SNOMED)),
    ]


def overlapping(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the chronic overlapping pain conditions; longer rows of other conditions stay out."""
    labelled = Codelist.from_rows("all", rows.with_columns(category=pl.col("copc").fill_null("none")))
    wanted = [category for category in labelled.categories if category != "none"]
    return labelled.only(category=wanted).rows


def symptoms(facts: Path) -> list[Codelist]:
    """Return one list per symptom domain, labelled with the sub-domain."""
    rows = read(facts / "css_symptoms.csv").select(
        "group", "source", system(pl.col("code_system")), code="code_prefix", category="subgroup"
    )
    return [make(name, rows.filter(pl.col("group").is_in(groups))) for name, groups in SYMPTOM_LISTS.items()]


def treatments(facts: Path) -> list[Codelist]:
    """Return treatments by modality and by class, and the opioids with their products."""
    rows = (
        read(facts / "treatments.csv")
        .filter(pl.col("code_system").is_in(["ATC", "CPT", "HCPCS", "RXCUI_INGREDIENT"]))
        .filter(~pl.col("note").fill_null("").str.contains_any(NOT_A_TREATMENT))
        .select(pl.all().exclude("code_system"), system(pl.col("code_system")), term="agent_or_procedure")
    )
    opioids = rows.filter(pl.col("treatment_class").is_in(["opioid", "opioid_partial_agonist"]))
    return [
        make("treatment_modalities", rows.with_columns(category="modality")),
        make("treatment_classes", rows.with_columns(category="treatment_class")),
        make("opioid", pl.concat([opioid_agents(opioids), opioid_products(), opioid_ndcs(facts)])),
        make("benzodiazepine", pl.concat([of_class(rows, "benzodiazepine_comedication"), benzodiazepine_ndcs(facts)])),
        make("gabapentinoid", of_class(rows, "gabapentinoid")),
    ]


def of_class(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the treatments of one class, labelled with the agent."""
    return rows.filter(pl.col("treatment_class") == name).with_columns(category="term").select(COLUMNS)


def benzodiazepine_ndcs(facts: Path) -> pl.DataFrame:
    """Return the NDCs of CDC's 2016 table of benzodiazepines; numbers and ingredients only."""
    return read(facts / "ndc_and_codes/cdc_mme_2016_benzos.csv.gz").select(
        system=pl.lit("ndc"),
        code="NDC",
        term=pl.col("Master_Form").str.to_lowercase(),
        category=pl.col("Drug").str.to_lowercase(),
        source=pl.lit("CDC benzodiazepine NDC table 2016"),
    )


def opioid_agents(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ATC groups and RxNorm ingredients, labelled with the agent (``opioids`` for a whole ATC group)."""
    group = pl.col("code").str.len_chars() < len("N02AA01")
    agent = pl.when((pl.col("system") == "atc") & group).then(pl.lit("opioids")).otherwise("term")
    agent = agent.replace({"pethidine": "meperidine", "codeine, combinations excl. psycholeptics": "codeine"})
    return rows.with_columns(category=agent).select(COLUMNS)


def opioid_products() -> pl.DataFrame:
    """Return the opioid products that Synthea prescribes."""
    return table(("rxnorm", code, term, agent, SYNTHEA_DRUG) for code, (agent, term) in OPIOID_PRODUCTS.items())


def opioid_ndcs(facts: Path) -> pl.DataFrame:
    """Return the NDCs of CDC's 2016 table of opioid products; numbers and ingredients only."""
    return read(facts / "ndc_and_codes/cdc_mme_2016_opioids.csv.gz").select(
        system=pl.lit("ndc"),
        code="NDC",
        term=pl.col("Master_Form").str.to_lowercase(),
        category=pl.col("Drug").str.replace(r" [SL]A$", "").str.to_lowercase(),
        source=pl.lit(OPIOID_NDC_SOURCE),
    )


def comorbidity(facts: Path) -> list[Codelist]:
    """Return the maps of Quan 2005 exactly as published (no ICD-10-CM additions), and AHRQ's refined map of 2025."""
    facts_rows = pl.concat([read(facts / "charlson_icd10.csv"), read(facts / "elixhauser_icd10.csv")])
    rows = facts_rows.with_columns(system(pl.col("code_system")), code="code_prefix")
    maps = [make(ours, rows.filter(pl.col("index") == theirs)) for theirs, ours in INDICES.items()]
    newest = next(codelist for codelist in maps if codelist.name == AHRQ)
    return [*maps, *(make(f"elixhauser_ahrq{year}", earlier(facts, newest, year)) for year in EARLIER)]


def earlier(facts: Path, newest: Codelist, year: str) -> pl.DataFrame:
    """Return an earlier release: codes whose labels differ get rows of their own, `EXCLUDED` where there were none."""
    table = read(facts / AHRQ_TABLE).filter(pl.col("icdv") == "10", pl.col("dx") == "1")
    labels, now = (_labels(table, column) for column in (f"elixhauser_ahrq{year}", "elixhauser_ahrq2025"))
    both = labels.join(now, on="code", how="full", coalesce=True, suffix="_now")
    differing = both.filter(pl.col("category").ne_missing(pl.col("category_now")))
    if partly := differing.drop_nulls().height:
        raise SystemExit(f"{partly} codes changed some labels and kept others; a row cannot say that")
    rows = differing.select(
        system=pl.lit("icd10cm"),
        code="code",
        term=pl.lit(""),
        category=pl.col("category").fill_null(pl.lit([EXCLUDED], dtype=pl.List(pl.String))),
        source=pl.lit(f"AHRQ CMR v{year}.1, as tabulated in medicalcoder"),
    )
    kept = newest.rows.join(rows, on=["system", "code"], how="anti")
    return pl.concat([kept, rows.explode("category").select(COLUMNS)])


def _labels(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return each code of one release with its labels, sorted."""
    own = table.filter(pl.col(column) == "1").select("code", category="condition").unique().sort("code", "category")
    return own.group_by("code", maintain_order=True).agg("category")


def weights(facts: Path) -> pl.DataFrame:
    """Return weights, hierarchy and present-on-admission rules of the shipped indices, in published order."""
    rows = read(facts / "weights.csv").filter(pl.col("applies_to_index").is_in(list(INDICES)))
    rows = rows.with_columns(index=pl.col("applies_to_index").replace(INDICES), score=pl.lit(""))
    weight = rows.filter(pl.col("weight_set").is_in(list(SCORES)))
    weight = weight.with_columns(kind=pl.lit("weight"), score=pl.col("weight_set").replace(SCORES))
    drops = rows.filter(pl.col("row_type") == "hierarchy").with_columns(kind=pl.lit("drops"), value="drops_category")
    columns = ["index", "kind", "score", "category", "value", "source"]
    newest = pl.concat([weight.select(columns), drops.select(columns), on_admission(facts).select(columns)])
    changed = rows.filter(pl.col("weight_set").is_in(list(SCORES_2022)))
    changed = changed.with_columns(kind=pl.lit("weight"), score=pl.col("weight_set").replace(SCORES_2022))
    return pl.concat([newest, *(earlier_weights(newest, changed.select(columns), year) for year in EARLIER)])


def earlier_weights(newest: pl.DataFrame, changed: pl.DataFrame, year: str) -> pl.DataFrame:
    """Return weights and rules of an earlier release of AHRQ's index: its weights changed from 2022.1 to 2023.1."""
    own = newest.filter(pl.col("index") == AHRQ)
    if year == "2022":
        own = pl.concat([changed, own.filter(pl.col("kind") != "weight")])
    return own.with_columns(index=pl.lit(f"elixhauser_ahrq{year}"))


def on_admission(facts: Path) -> pl.DataFrame:
    """Return the refined categories that count only when present on admission."""
    rows = read(facts / "ndc_and_codes/medicalcoder_elixhauser_poa.csv.gz")
    return rows.filter((pl.col("poa_required") == "1") & (pl.col("elixhauser_ahrq2025") == "1")).select(
        index=pl.lit("elixhauser_ahrq2025"),
        kind=pl.lit("on_admission"),
        score=pl.lit(""),
        category="condition",
        value=pl.lit(""),
        source=pl.lit("AHRQ CMR v2025.1, as tabulated in medicalcoder"),
    )


def mme_factors(facts: Path) -> pl.DataFrame:
    """Return morphine equivalents per unit of strength; a patch counts for each day it is worn.

    The guidelines state the patch as 2.4 per mcg/h worn; a fentanyl patch is worn three days, so that strength x
    patches per day x 7.2 is the same. Buprenorphine has no factor in either version.
    """
    worn = pl.col("form") == "transdermal"
    rows = read(facts / "mme_factors.csv").filter(pl.col("version").is_in(["cdc2016", "cdc2022"]))
    guideline_twin = worn & (pl.col("version") == "cdc2016")
    factor = pl.col("factor").cast(pl.Float64)
    guideline = rows.filter(~guideline_twin).select(
        "version",
        drug="opioid",
        form=pl.col("form").replace_strict(MME_FORMS),
        dose_gt=pl.col("dose_gt"),
        dose_le=pl.col("dose_le"),
        factor=pl.when(worn).then(factor * 3).otherwise(factor).round(4),
        source="source",
    )
    withdrawn = ("cdc2016", "propoxyphene", "oral", None, None, 0.23, OPIOID_NDC_SOURCE)
    return pl.concat([guideline, pl.DataFrame([withdrawn], schema=guideline.schema, orient="row")])


def opioid_strengths(facts: Path) -> pl.DataFrame:
    """Return drug, form and strength per unit of each opioid NDC; fentanyl's form is read from its factor."""
    drug, factor = pl.col("Drug").str.replace(r" [SL]A$", "").str.to_lowercase(), pl.col("MME_Conversion_Factor")
    form = (
        pl.when(pl.col("Master_Form").str.contains("Patch"))
        .then(pl.lit("patch"))
        .when(drug == "butorphanol")
        .then(pl.lit("nasal"))
        .when(drug == "fentanyl")
        .then(factor.replace({"0.13": "buccal_tablet", "0.16": "nasal", "0.18": "film"}))
        .otherwise(pl.lit("oral"))
    )
    rows = read(facts / "ndc_and_codes/cdc_mme_2016_opioids.csv.gz")
    return rows.select(code="NDC", drug=drug, form=form, strength="Strength_Per_Unit").sort("code")


def written_here() -> list[Codelist]:
    """Return the lists that are not in the facts: injuries, active cancer, palliative care, pictures of the spine."""
    injuries = [snomed(kind, codes) for kind, codes in INJURY_SNOMED.items()]
    return [
        make("musculoskeletal_injury", pl.concat(injuries)),
        make("active_cancer", pl.concat([cancer_icd(), snomed("active_cancer", CANCER_SNOMED)])),
        make("palliative_care", table(palliative())),
        make("spine_imaging", spine_imaging()),
    ]


def cancer_icd() -> pl.DataFrame:
    """Return C00–C97 without C44 (ICD-10, ICD-10-CM) and 140–208 without 173 (ICD-9-CM)."""
    ten = [f"C{number:02}" for number in range(98) if number != 44]
    clinical = [*(code for code in ten if code not in ("C97", "C42")), "C4A", "C7A", "C7B"]
    nine = [str(number) for number in range(140, 209) if number != 173]
    codes = {"icd10": ten, "icd10cm": clinical, "icd9cm": [*nine, "2090", "2091", "2092", "2093", "2097"]}
    return table(
        (name, code, "malignant neoplasm", "active_cancer", ICD_STRUCTURE) for name in codes for code in codes[name]
    )


def spine_imaging() -> pl.DataFrame:
    """Return radiographs, CT, MRI and myelograms of the spine."""
    return table(
        (name, str(code), f"{kind} of the spine", kind, SPINE_SOURCES[name])
        for kind, systems in SPINE_IMAGING.items()
        for name, codes in systems.items()
        for code in codes
    )


def palliative() -> list[tuple[str, ...]]:
    """Return Z51.5 and its ICD-9-CM forerunner."""
    codes = {"icd10": "Z515", "icd10cm": "Z515", "icd9cm": "V667"}
    source = "ICD-10 Z51.5 as in CI-NYC and Shah 2017 exclusions; ICD-9-CM equivalent V66.7"
    return [(name, code, "encounter for palliative care", "palliative_care", source) for name, code in codes.items()]


def snomed(category: str, codes: dict[str, str]) -> pl.DataFrame:
    """Return SNOMED CT rows."""
    return table(("snomed", code, term, category, SYNTHEA) for code, term in codes.items())


def table(rows: Iterable[tuple[str, ...]]) -> pl.DataFrame:
    """Return rows given in the order of the columns of a codelist."""
    return pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def make(name: str, rows: pl.DataFrame) -> Codelist:
    """Return a list of this build's version."""
    return Codelist.from_rows(name, rows, VERSION)


def read(path: Path) -> pl.DataFrame:
    """Read a table of facts, all as text: codes are text."""
    return pl.read_csv(path, infer_schema=False)


def system(code_system: pl.Expr) -> pl.Expr:
    """Return the facts' name of a coding system in the store's spelling."""
    return code_system.str.to_lowercase().replace("rxcui_ingredient", "rxnorm").alias("system")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
