SELECT at.now, at.floor, c.rev, c.token, h.*
FROM at LEFT JOIN locked_record h ON true LEFT JOIN updated_record c ON true
