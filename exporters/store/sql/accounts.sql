SELECT count() FROM live_accounts
