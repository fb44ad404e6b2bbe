const { index, integer, pgTable, text } = require("drizzle-orm/pg-core");

exports.parcels = pgTable(
  "parcels",
  { id: integer("id").primaryKey(), note: text("note"), weight: integer("weight") },
  (table) => [index("parcels_of").on(table.weight)],
);
