ALTER TABLE spans DROP PARTITION ({service:String}, {window:UInt32})
