const { integer, pgTable } = require("drizzle-orm/pg-core");

// A column and an index of the first are gone.
exports.parcels = pgTable("parcels", { id: integer("id").primaryKey(), weight: integer("weight") });
