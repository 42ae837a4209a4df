"""Who is in, from when, until when: entry, criteria, follow-up, attrition."""
