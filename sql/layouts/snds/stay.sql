-- what:   hospital stays of the PMSI: short stays (mco), rehabilitation (ssr), hospital care at home (had). Stays are
--         numbered anew each year, so the year of the table, which only its name tells, belongs to their key.
--         Days: those of care, else those of entry and exit; where only the month of discharge is known (before
--         2009), the stay ends on the first of that month and began as many nights earlier as it lasted.
--         Setting: mco and ssr are inpatient, also for a day; had is home. A stay whose return codes are not all 0
--         cannot be given to a person, and one grouped into an error (GHM 90…) is none: both keep their row without
--         days, so that what is written on them is counted as incomplete
-- grain:  one row per stay
-- reads:  extract.mco_c, extract.mco_b, extract.ssr_c, extract.ssr_b, extract.had_c, extract.had_b
-- params: none
-- source: SNDS data dictionary, PMSI tables C and B; ATIH, return codes of the pseudonymisation; our rule for the days
with mco as (
    select
        c.*,
        'mco' as kind,
        c.ETA_NUM as hospital,
        c.RSA_NUM as number,
        'inpatient' as setting,
        b.SOR_MOD,
        coalesce(b.GRG_GHM, '') as ghm,
        make_date(c.SOR_ANN, c.SOR_MOI, 1) as month_of_exit,
        b.SEJ_NBJ as nights
    from extract.mco_c as c
    left join extract.mco_b as b
        on b.ETA_NUM = c.ETA_NUM and b.RSA_NUM = c.RSA_NUM and b.FILE[6:7] = c.FILE[6:7]
), ssr as (
    select c.*, 'ssr' as kind, c.ETA_NUM as hospital, c.RHA_NUM as number, 'inpatient' as setting, b.SOR_MOD
    from extract.ssr_c as c
    left join (select FILE[6:7] as year, ETA_NUM, RHA_NUM, max(SOR_MOD) as SOR_MOD from extract.ssr_b group by all) as b
        on b.ETA_NUM = c.ETA_NUM and b.RHA_NUM = c.RHA_NUM and b.year = c.FILE[6:7]
), had as (
    select c.*, 'had' as kind, c.ETA_NUM_EPMSI as hospital, c.RHAD_NUM as number, 'home' as setting, b.SOR_MOD
    from extract.had_c as c
    left join (
        select FILE[6:7] as year, ETA_NUM_EPMSI, RHAD_NUM, max(SOR_MOD) as SOR_MOD from extract.had_b group by all
    ) as b on b.ETA_NUM_EPMSI = c.ETA_NUM_EPMSI and b.RHAD_NUM = c.RHAD_NUM and b.year = c.FILE[6:7]
), everything as (
    select * from mco
    union all by name select * from ssr
    union all by name select * from had
), checked as (
    select
        *,
        coalesce(ghm, '') not like '90%' and list_bool_and(list_transform(
            [NIR_RET, NAI_RET, SEX_RET, SEJ_RET, FHO_RET, PMS_RET, DAT_RET, COH_NAI_RET, COH_SEX_RET],
            lambda code: coalesce(code, '0') = '0'
        )) as sound
    from everything
)
select
    NUM_ENQ as person,
    kind,
    FILE[6:7] as year,
    hospital,
    number,
    setting,
    SOR_MOD as exit_mode,
    case when sound then coalesce(EXE_SOI_DTD, ENT_DAT, month_of_exit - nights::integer) end as first_day,
    case when sound then coalesce(EXE_SOI_DTF, SOR_DAT, month_of_exit) end as last_day
from checked
