-- what:   Part D prescription drug events with what each does to those before it: an adjustment replaces, a deletion
--         voids; one that Medicare does not call final action (FINAL_ACTION = N) stands no more
-- grain:  one row per record of pde
-- reads:  extract.pde, codes.claim_action
-- params: none
-- source: ResDAC, Part D event record layout
select
    pde.*,
    pde.BENE_ID as person,
    null::varchar as claim_payer,
    pde.CLM_GRP_ID as claim_id,
    null::varchar as claim_line,
    pde.PD_DT as claim_version,
    case when pde.FINAL_ACTION = 'N' then 'not_final' else coalesce(action.action, 'original') end as claim_action
from extract.pde as pde
left join codes.claim_action as action on action.kind = 'drug_event' and action.code = pde.ADJSTMT_DLTN_CD
