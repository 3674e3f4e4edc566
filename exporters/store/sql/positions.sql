SELECT topic, part, topic_id, next, epoch, ledger, lost FROM positions FINAL
