SELECT topic, part, topic_id, next, epoch, ledger FROM positions FINAL
