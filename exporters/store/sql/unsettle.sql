ALTER TABLE days DROP PARTITION ({service:String}, {day:Date})
