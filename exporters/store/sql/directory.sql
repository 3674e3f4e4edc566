SELECT account_id, account_email, state, created FROM live_accounts
