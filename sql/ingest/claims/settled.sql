-- what:   claim lines with their final-action state: `claim_fate` is null where a line stands, else why it does not:
--         `void`, `denied` or `not_final` (what the line itself says), or `voided`, `denied_later` or `replaced` (what
--         another line did to it; if several did, the latest). The rules are in sql/README.md. No rule asks in which
--         order lines arrived
-- grain:  one row per claim line
-- reads:  claim_event (a layout's view: person, claim_payer, claim_id, claim_line = null for the whole claim,
--         claim_version = day of the payer's decision, claim_action, and any columns more)
-- params: none
-- source: the data dictionary; NUBC UB-04 form locator 4 for what a replacement and a void are
with event as (
    select
        *,
        coalesce(claim_version - date '0001-01-01', 0) * 4
            + coalesce(list_position(['denied', 'void', 'replacement'], claim_action), 0) as moment
    from claim_event
), deed as (
    select * from event where claim_action in ('denied', 'void', 'replacement') and claim_id is not null
), claim as (
    select person, claim_payer, claim_id, max(moment) as moment
    from deed
    where claim_line is null or claim_action = 'replacement'
    group by person, claim_payer, claim_id
), line as (
    select person, claim_payer, claim_id, claim_line, max(moment) as moment
    from deed
    where claim_line is not null
    group by person, claim_payer, claim_id, claim_line
)
select
    event.* exclude (moment),
    case
        when event.claim_action in ('void', 'denied', 'not_final') then event.claim_action
        when greatest(claim.moment, line.moment) > event.moment
            then (['denied_later', 'voided', 'replaced'])[greatest(claim.moment, line.moment) % 4]
    end as claim_fate
from event
left join claim
    on claim.claim_id = event.claim_id and claim.person = event.person
    and claim.claim_payer is not distinct from event.claim_payer
left join line
    on line.claim_id = event.claim_id and line.person = event.person and line.claim_line = event.claim_line
    and line.claim_payer is not distinct from event.claim_payer
