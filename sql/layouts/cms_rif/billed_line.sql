-- what:   claim lines of all seven claim types side by side, with what each does to its claim. A line that Medicare does
--         not call final action (FINAL_ACTION = N) stands no more; of the others institutional claims say it by claim
--         frequency, carrier and equipment claims by entry code. Versions of a claim share the group, and a void takes
--         back the whole claim. Denied lines count as original: payment does not say whether care took place
-- grain:  one row per claim line
-- reads:  extract.inpatient, extract.outpatient, extract.carrier, extract.dme, extract.hha, extract.hospice,
--         extract.snf, codes.claim_action
-- params: none
-- source: ResDAC, RIF record layouts; our rule on denials
with line as (
    select * from extract.inpatient
    union all by name select * from extract.outpatient
    union all by name select * from extract.carrier
    union all by name select * from extract.dme
    union all by name select * from extract.hha
    union all by name select * from extract.hospice
    union all by name select * from extract.snf
)
select
    line.*,
    line.BENE_ID as person,
    line.NCH_CLM_TYPE_CD as claim_payer,
    coalesce(line.CLM_GRP_ID, line.CLM_ID) as claim_id,
    case when coalesce(frequency.action, entry.action) is distinct from 'void'
        then coalesce(line.CLM_LINE_NUM, line.LINE_NUM) end as claim_line,
    line.NCH_WKLY_PROC_DT as claim_version,
    case when line.FINAL_ACTION = 'N' then 'not_final' else coalesce(frequency.action, entry.action, 'original') end
        as claim_action
from line
left join codes.claim_action as frequency on frequency.kind = 'frequency' and frequency.code = line.CLM_FREQ_CD
left join codes.claim_action as entry on entry.kind = 'carrier_entry' and entry.code = line.CARR_CLM_ENTRY_CD
