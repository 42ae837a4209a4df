-- what:   stays and outpatient contacts below one another; a stay without a discharge is of one day
-- grain:  one row per line of inpatient and of outpatient
-- reads:  extract.inpatient, extract.outpatient
-- params: none
-- source: National Board of Health and Welfare, National Patient Register (INSATT: planned or not)
select
    LopNr as person,
    INDATUM as date,
    coalesce(UTDATUM, INDATUM) as end_date,
    'inpatient' as setting,
    [HDIA, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10,
     DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17, DIA18, DIA19, DIA20,
     DIA21, DIA22, DIA23, DIA24, DIA25, DIA26, DIA27, DIA28, DIA29, DIA30] as codes
from extract.inpatient
union all
select
    LopNr,
    INDATUM,
    INDATUM,
    case INSATT when 'emergency' then 'emergency' else 'outpatient' end,
    [HDIA, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10,
     DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17, DIA18, DIA19, DIA20,
     DIA21, DIA22, DIA23, DIA24, DIA25, DIA26, DIA27, DIA28, DIA29, DIA30]
from extract.outpatient
