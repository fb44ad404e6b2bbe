//! The whole syntax tree, every field of every node.
//!
//! `pg_query`'s own iterator skips parts of the tree (the body of PREPARE, the commands of ALTER
//! TABLE, …), and what is skipped is not judged. Here the compiler proves that nothing is: each
//! node is taken apart by a pattern that names all of its fields, and the match over the kinds
//! has no wildcard. A new kind or field in the grammar does not compile until it stands here.
//! What a kind *means* is not decided here but in [`survey`](super::survey), which takes what it
//! does not know for opaque.

use pg_query::protobuf::{self, Node, a_const};
use pg_query::{NodeEnum, NodeRef};

use super::scribe::{Scribe, Spell, is_meant};

/// Sees every node of a tree, parents before children.
pub(super) trait Visitor {
    /// Before the children of `node`.
    fn enter(&mut self, node: NodeRef<'_>);
    /// After the children of `node`.
    fn leave(&mut self, node: NodeRef<'_>);
}

/// What can be walked: nodes, what holds them, and the plain values beside them.
pub(super) trait Walk {
    /// Shows this node and all below it.
    fn walk(&self, visitor: &mut dyn Visitor);
}

impl<T: Walk> Walk for Option<T> {
    fn walk(&self, visitor: &mut dyn Visitor) {
        if let Some(inner) = self {
            inner.walk(visitor);
        }
    }
}

impl<T: Walk> Walk for Box<T> {
    fn walk(&self, visitor: &mut dyn Visitor) {
        self.as_ref().walk(visitor);
    }
}

impl<T: Walk> Walk for Vec<T> {
    fn walk(&self, visitor: &mut dyn Visitor) {
        for inner in self {
            inner.walk(visitor);
        }
    }
}

macro_rules! plain {
    ($($type:ty)+) => {$(
        impl Walk for $type {
            fn walk(&self, _: &mut dyn Visitor) {}
        }
    )+};
}
plain! { bool i32 i64 u32 u64 f64 String a_const::Val }

macro_rules! nodes {
    ($($variant:ident($type:ident) { $($field:ident)* })+) => {
        $(impl Spell for protobuf::$type {
            fn spell(&self, scribe: &mut dyn Scribe) {
                scribe.enter(stringify!($variant), NodeRef::$variant(self));
                $(if const { is_meant(stringify!($field)) } {
                    scribe.field(stringify!($field));
                    self.$field.spell(scribe);
                })*
                scribe.leave();
            }
        })+

        impl Spell for Node {
            fn spell(&self, scribe: &mut dyn Scribe) {
                match &self.node {
                    None => {}
                    $(Some(NodeEnum::$variant(inner)) => inner.spell(scribe),)+
                }
            }
        }

        $(impl Walk for protobuf::$type {
            fn walk(&self, visitor: &mut dyn Visitor) {
                let protobuf::$type { $($field),* } = self;
                visitor.enter(NodeRef::$variant(self));
                $($field.walk(visitor);)*
                visitor.leave(NodeRef::$variant(self));
            }
        })+

        impl Walk for Node {
            fn walk(&self, visitor: &mut dyn Visitor) {
                match &self.node {
                    None => {}
                    $(Some(NodeEnum::$variant(inner)) => inner.walk(visitor),)+
                }
            }
        }
    };
}

// The order of fields is the order of the walk: a WITH clause comes before what can name it.
nodes! {
    Alias(Alias) { aliasname colnames }
    RangeVar(RangeVar) { catalogname schemaname relname inh relpersistence alias location }
    TableFunc(TableFunc) {
        functype ns_uris ns_names docexpr rowexpr colnames coltypes coltypmods colcollations
        colexprs coldefexprs colvalexprs passingvalexprs notnulls plan ordinalitycol location
    }
    IntoClause(IntoClause) {
        rel col_names access_method options on_commit table_space_name view_query skip_data
    }
    Var(Var) {
        xpr varno varattno vartype vartypmod varcollid varnullingrels varlevelsup varreturningtype
        location
    }
    Param(Param) { xpr paramkind paramid paramtype paramtypmod paramcollid location }
    Aggref(Aggref) {
        xpr aggfnoid aggtype aggcollid inputcollid aggargtypes aggdirectargs args aggorder
        aggdistinct aggfilter aggstar aggvariadic aggkind agglevelsup aggsplit aggno aggtransno
        location
    }
    GroupingFunc(GroupingFunc) { xpr args refs agglevelsup location }
    WindowFunc(WindowFunc) {
        xpr winfnoid wintype wincollid inputcollid args aggfilter run_condition winref winstar
        winagg location
    }
    WindowFuncRunCondition(WindowFuncRunCondition) { xpr opno inputcollid wfunc_left arg }
    MergeSupportFunc(MergeSupportFunc) { xpr msftype msfcollid location }
    SubscriptingRef(SubscriptingRef) {
        xpr refcontainertype refelemtype refrestype reftypmod refcollid refupperindexpr
        reflowerindexpr refexpr refassgnexpr
    }
    FuncExpr(FuncExpr) {
        xpr funcid funcresulttype funcretset funcvariadic funcformat funccollid inputcollid args
        location
    }
    NamedArgExpr(NamedArgExpr) { xpr arg name argnumber location }
    OpExpr(OpExpr) { xpr opno opresulttype opretset opcollid inputcollid args location }
    DistinctExpr(DistinctExpr) { xpr opno opresulttype opretset opcollid inputcollid args location }
    NullIfExpr(NullIfExpr) { xpr opno opresulttype opretset opcollid inputcollid args location }
    ScalarArrayOpExpr(ScalarArrayOpExpr) { xpr opno use_or inputcollid args location }
    BoolExpr(BoolExpr) { xpr boolop args location }
    SubLink(SubLink) { xpr sub_link_type sub_link_id testexpr oper_name subselect location }
    SubPlan(SubPlan) {
        xpr sub_link_type testexpr param_ids plan_id plan_name first_col_type first_col_typmod
        first_col_collation use_hash_table unknown_eq_false parallel_safe set_param par_param args
        startup_cost per_call_cost
    }
    AlternativeSubPlan(AlternativeSubPlan) { xpr subplans }
    FieldSelect(FieldSelect) { xpr arg fieldnum resulttype resulttypmod resultcollid }
    FieldStore(FieldStore) { xpr arg newvals fieldnums resulttype }
    RelabelType(RelabelType) { xpr arg resulttype resulttypmod resultcollid relabelformat location }
    CoerceViaIo(CoerceViaIo) { xpr arg resulttype resultcollid coerceformat location }
    ArrayCoerceExpr(ArrayCoerceExpr) {
        xpr arg elemexpr resulttype resulttypmod resultcollid coerceformat location
    }
    ConvertRowtypeExpr(ConvertRowtypeExpr) { xpr arg resulttype convertformat location }
    CollateExpr(CollateExpr) { xpr arg coll_oid location }
    CaseExpr(CaseExpr) { xpr casetype casecollid arg args defresult location }
    CaseWhen(CaseWhen) { xpr expr result location }
    CaseTestExpr(CaseTestExpr) { xpr type_id type_mod collation }
    ArrayExpr(ArrayExpr) {
        xpr array_typeid array_collid element_typeid elements multidims list_start list_end location
    }
    RowExpr(RowExpr) { xpr args row_typeid row_format colnames location }
    RowCompareExpr(RowCompareExpr) { xpr cmptype opnos opfamilies inputcollids largs rargs }
    CoalesceExpr(CoalesceExpr) { xpr coalescetype coalescecollid args location }
    MinMaxExpr(MinMaxExpr) { xpr minmaxtype minmaxcollid inputcollid op args location }
    SqlvalueFunction(SqlValueFunction) { xpr op r#type typmod location }
    XmlExpr(XmlExpr) {
        xpr op name named_args arg_names args xmloption indent r#type typmod location
    }
    JsonFormat(JsonFormat) { format_type encoding location }
    JsonReturning(JsonReturning) { format typid typmod }
    JsonValueExpr(JsonValueExpr) { raw_expr formatted_expr format }
    JsonConstructorExpr(JsonConstructorExpr) {
        xpr r#type args func coercion returning absent_on_null unique location
    }
    JsonIsPredicate(JsonIsPredicate) { expr format item_type unique_keys location }
    JsonBehavior(JsonBehavior) { btype expr coerce location }
    JsonExpr(JsonExpr) {
        xpr op column_name formatted_expr format path_spec returning passing_names passing_values
        on_empty on_error use_io_coercion use_json_coercion wrapper omit_quotes collation location
    }
    JsonTablePath(JsonTablePath) { name }
    JsonTablePathScan(JsonTablePathScan) { plan path error_on_error child col_min col_max }
    JsonTableSiblingJoin(JsonTableSiblingJoin) { plan lplan rplan }
    NullTest(NullTest) { xpr arg nulltesttype argisrow location }
    BooleanTest(BooleanTest) { xpr arg booltesttype location }
    MergeAction(MergeAction) { match_kind command_type r#override qual target_list update_colnos }
    CoerceToDomain(CoerceToDomain) {
        xpr arg resulttype resulttypmod resultcollid coercionformat location
    }
    CoerceToDomainValue(CoerceToDomainValue) { xpr type_id type_mod collation location }
    SetToDefault(SetToDefault) { xpr type_id type_mod collation location }
    CurrentOfExpr(CurrentOfExpr) { xpr cvarno cursor_name cursor_param }
    NextValueExpr(NextValueExpr) { xpr seqid type_id }
    InferenceElem(InferenceElem) { xpr expr infercollid inferopclass }
    ReturningExpr(ReturningExpr) { xpr retlevelsup retold retexpr }
    TargetEntry(TargetEntry) {
        xpr expr resno resname ressortgroupref resorigtbl resorigcol resjunk
    }
    RangeTblRef(RangeTblRef) { rtindex }
    JoinExpr(JoinExpr) {
        jointype is_natural larg rarg using_clause join_using_alias quals alias rtindex
    }
    FromExpr(FromExpr) { fromlist quals }
    OnConflictExpr(OnConflictExpr) {
        action arbiter_elems arbiter_where constraint on_conflict_set on_conflict_where
        excl_rel_index excl_rel_tlist
    }
    Query(Query) {
        command_type query_source can_set_tag utility_stmt result_relation has_aggs has_window_funcs
        has_target_srfs has_sub_links has_distinct_on has_recursive has_modifying_cte has_for_update
        has_row_security has_group_rte is_return cte_list rtable rteperminfos jointree
        merge_action_list merge_target_relation merge_join_condition target_list r#override
        on_conflict returning_old_alias returning_new_alias returning_list group_clause
        group_distinct grouping_sets having_qual window_clause distinct_clause sort_clause
        limit_offset limit_count limit_option row_marks set_operations constraint_deps
        with_check_options stmt_location stmt_len
    }
    TypeName(TypeName) { names type_oid setof pct_type typmods typemod array_bounds location }
    ColumnRef(ColumnRef) { fields location }
    ParamRef(ParamRef) { number location }
    AExpr(AExpr) { kind name lexpr rexpr rexpr_list_start rexpr_list_end location }
    TypeCast(TypeCast) { arg type_name location }
    CollateClause(CollateClause) { arg collname location }
    RoleSpec(RoleSpec) { roletype rolename location }
    FuncCall(FuncCall) {
        funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic
        funcformat location
    }
    AStar(AStar) {}
    AIndices(AIndices) { is_slice lidx uidx }
    AIndirection(AIndirection) { arg indirection }
    AArrayExpr(AArrayExpr) { elements list_start list_end location }
    ResTarget(ResTarget) { name indirection val location }
    MultiAssignRef(MultiAssignRef) { source colno ncolumns }
    SortBy(SortBy) { node sortby_dir sortby_nulls use_op location }
    WindowDef(WindowDef) {
        name refname partition_clause order_clause frame_options start_offset end_offset location
    }
    RangeSubselect(RangeSubselect) { lateral subquery alias }
    RangeFunction(RangeFunction) { lateral ordinality is_rowsfrom functions alias coldeflist }
    RangeTableFunc(RangeTableFunc) { lateral docexpr rowexpr namespaces columns alias location }
    RangeTableFuncCol(RangeTableFuncCol) {
        colname type_name for_ordinality is_not_null colexpr coldefexpr location
    }
    RangeTableSample(RangeTableSample) { relation method args repeatable location }
    ColumnDef(ColumnDef) {
        colname type_name compression inhcount is_local is_not_null is_from_type storage
        storage_name raw_default cooked_default identity identity_sequence generated coll_clause
        coll_oid constraints fdwoptions location
    }
    TableLikeClause(TableLikeClause) { relation options relation_oid }
    IndexElem(IndexElem) {
        name expr indexcolname collation opclass opclassopts ordering nulls_ordering
    }
    DefElem(DefElem) { defnamespace defname arg defaction location arg_location }
    LockingClause(LockingClause) { locked_rels strength wait_policy }
    XmlSerialize(XmlSerialize) { xmloption expr type_name indent location }
    PartitionElem(PartitionElem) { name expr collation opclass location }
    PartitionSpec(PartitionSpec) { strategy part_params location }
    PartitionBoundSpec(PartitionBoundSpec) {
        strategy is_default modulus remainder listdatums lowerdatums upperdatums location
    }
    PartitionRangeDatum(PartitionRangeDatum) { kind value location }
    PartitionCmd(PartitionCmd) { name bound concurrent }
    RangeTblEntry(RangeTblEntry) {
        alias eref rtekind relid inh relkind rellockmode perminfoindex tablesample subquery
        security_barrier jointype joinmergedcols joinaliasvars joinleftcols joinrightcols
        join_using_alias functions
        funcordinality tablefunc values_lists ctename ctelevelsup self_reference coltypes coltypmods
        colcollations enrname enrtuples groupexprs lateral in_from_cl security_quals
    }
    RtepermissionInfo(RtePermissionInfo) {
        relid inh required_perms check_as_user selected_cols inserted_cols updated_cols
    }
    RangeTblFunction(RangeTblFunction) {
        funcexpr funccolcount funccolnames funccoltypes funccoltypmods funccolcollations funcparams
    }
    TableSampleClause(TableSampleClause) { tsmhandler args repeatable }
    WithCheckOption(WithCheckOption) { kind relname polname qual cascaded }
    SortGroupClause(SortGroupClause) {
        tle_sort_group_ref eqop sortop reverse_sort nulls_first hashable
    }
    GroupingSet(GroupingSet) { kind content location }
    WindowClause(WindowClause) {
        name refname partition_clause order_clause frame_options start_offset end_offset
        start_in_range_func end_in_range_func in_range_coll in_range_asc in_range_nulls_first winref
        copied_order
    }
    RowMarkClause(RowMarkClause) { rti strength wait_policy pushed_down }
    WithClause(WithClause) { ctes recursive location }
    InferClause(InferClause) { index_elems where_clause conname location }
    OnConflictClause(OnConflictClause) { action infer target_list where_clause location }
    CtesearchClause(CteSearchClause) {
        search_col_list search_breadth_first search_seq_column location
    }
    CtecycleClause(CteCycleClause) {
        cycle_col_list cycle_mark_column cycle_mark_value cycle_mark_default cycle_path_column
        location cycle_mark_type cycle_mark_typmod cycle_mark_collation cycle_mark_neop
    }
    CommonTableExpr(CommonTableExpr) {
        ctename aliascolnames ctematerialized ctequery search_clause cycle_clause location
        cterecursive cterefcount ctecolnames ctecoltypes ctecoltypmods ctecolcollations
    }
    MergeWhenClause(MergeWhenClause) {
        match_kind command_type r#override condition target_list values
    }
    ReturningOption(ReturningOption) { option value location }
    ReturningClause(ReturningClause) { options exprs }
    TriggerTransition(TriggerTransition) { name is_new is_table }
    JsonOutput(JsonOutput) { type_name returning }
    JsonArgument(JsonArgument) { val name }
    JsonFuncExpr(JsonFuncExpr) {
        op column_name context_item pathspec passing output on_empty on_error wrapper quotes
        location
    }
    JsonTablePathSpec(JsonTablePathSpec) { string name name_location location }
    JsonTable(JsonTable) { context_item pathspec passing columns on_error alias lateral location }
    JsonTableColumn(JsonTableColumn) {
        coltype name type_name pathspec format wrapper quotes columns on_empty on_error location
    }
    JsonKeyValue(JsonKeyValue) { key value }
    JsonParseExpr(JsonParseExpr) { expr output unique_keys location }
    JsonScalarExpr(JsonScalarExpr) { expr output location }
    JsonSerializeExpr(JsonSerializeExpr) { expr output location }
    JsonObjectConstructor(JsonObjectConstructor) { exprs output absent_on_null unique location }
    JsonArrayConstructor(JsonArrayConstructor) { exprs output absent_on_null location }
    JsonArrayQueryConstructor(JsonArrayQueryConstructor) {
        query output format absent_on_null location
    }
    JsonAggConstructor(JsonAggConstructor) { output agg_filter agg_order over location }
    JsonObjectAgg(JsonObjectAgg) { constructor arg absent_on_null unique }
    JsonArrayAgg(JsonArrayAgg) { constructor arg absent_on_null }
    RawStmt(RawStmt) { stmt stmt_location stmt_len }
    InsertStmt(InsertStmt) {
        with_clause relation cols select_stmt on_conflict_clause returning_clause r#override
    }
    DeleteStmt(DeleteStmt) { with_clause relation using_clause where_clause returning_clause }
    UpdateStmt(UpdateStmt) {
        with_clause relation target_list where_clause from_clause returning_clause
    }
    MergeStmt(MergeStmt) {
        with_clause relation source_relation join_condition merge_when_clauses returning_clause
    }
    SelectStmt(SelectStmt) {
        with_clause distinct_clause into_clause target_list from_clause where_clause group_clause
        group_distinct having_clause window_clause values_lists sort_clause limit_offset limit_count
        limit_option locking_clause op all larg rarg
    }
    SetOperationStmt(SetOperationStmt) {
        op all larg rarg col_types col_typmods col_collations group_clauses
    }
    ReturnStmt(ReturnStmt) { returnval }
    PlassignStmt(PlAssignStmt) { name indirection nnames val location }
    CreateSchemaStmt(CreateSchemaStmt) { schemaname authrole schema_elts if_not_exists }
    AlterTableStmt(AlterTableStmt) { relation cmds objtype missing_ok }
    AlterTableCmd(AlterTableCmd) { subtype name num newowner def behavior missing_ok recurse }
    AtalterConstraint(AtAlterConstraint) {
        conname alter_enforceability is_enforced alter_deferrability deferrable initdeferred
        alter_inheritability noinherit
    }
    ReplicaIdentityStmt(ReplicaIdentityStmt) { identity_type name }
    AlterCollationStmt(AlterCollationStmt) { collname }
    AlterDomainStmt(AlterDomainStmt) { subtype type_name name def behavior missing_ok }
    GrantStmt(GrantStmt) {
        is_grant targtype objtype objects privileges grantees grant_option grantor behavior
    }
    ObjectWithArgs(ObjectWithArgs) { objname objargs objfuncargs args_unspecified }
    AccessPriv(AccessPriv) { priv_name cols }
    GrantRoleStmt(GrantRoleStmt) { granted_roles grantee_roles is_grant opt grantor behavior }
    AlterDefaultPrivilegesStmt(AlterDefaultPrivilegesStmt) { options action }
    CopyStmt(CopyStmt) { relation query attlist is_from is_program filename options where_clause }
    VariableSetStmt(VariableSetStmt) { kind name args jumble_args is_local location }
    VariableShowStmt(VariableShowStmt) { name }
    CreateStmt(CreateStmt) {
        relation table_elts inh_relations partbound partspec of_typename constraints nnconstraints
        options oncommit tablespacename access_method if_not_exists
    }
    Constraint(Constraint) {
        contype conname deferrable initdeferred is_enforced skip_validation initially_valid
        is_no_inherit raw_expr cooked_expr generated_when generated_kind nulls_not_distinct keys
        without_overlaps including exclusions options indexname indexspace reset_default_tblspc
        access_method where_clause pktable fk_attrs pk_attrs fk_with_period pk_with_period
        fk_matchtype fk_upd_action fk_del_action fk_del_set_cols old_conpfeqop old_pktable_oid
        location
    }
    CreateTableSpaceStmt(CreateTableSpaceStmt) { tablespacename owner location options }
    DropTableSpaceStmt(DropTableSpaceStmt) { tablespacename missing_ok }
    AlterTableSpaceOptionsStmt(AlterTableSpaceOptionsStmt) { tablespacename options is_reset }
    AlterTableMoveAllStmt(AlterTableMoveAllStmt) {
        orig_tablespacename objtype roles new_tablespacename nowait
    }
    CreateExtensionStmt(CreateExtensionStmt) { extname if_not_exists options }
    AlterExtensionStmt(AlterExtensionStmt) { extname options }
    AlterExtensionContentsStmt(AlterExtensionContentsStmt) { extname action objtype object }
    CreateFdwStmt(CreateFdwStmt) { fdwname func_options options }
    AlterFdwStmt(AlterFdwStmt) { fdwname func_options options }
    CreateForeignServerStmt(CreateForeignServerStmt) {
        servername servertype version fdwname if_not_exists options
    }
    AlterForeignServerStmt(AlterForeignServerStmt) { servername version options has_version }
    CreateForeignTableStmt(CreateForeignTableStmt) { base_stmt servername options }
    CreateUserMappingStmt(CreateUserMappingStmt) { user servername if_not_exists options }
    AlterUserMappingStmt(AlterUserMappingStmt) { user servername options }
    DropUserMappingStmt(DropUserMappingStmt) { user servername missing_ok }
    ImportForeignSchemaStmt(ImportForeignSchemaStmt) {
        server_name remote_schema local_schema list_type table_list options
    }
    CreatePolicyStmt(CreatePolicyStmt) {
        policy_name table cmd_name permissive roles qual with_check
    }
    AlterPolicyStmt(AlterPolicyStmt) { policy_name table roles qual with_check }
    CreateAmStmt(CreateAmStmt) { amname handler_name amtype }
    CreateTrigStmt(CreateTrigStmt) {
        replace isconstraint trigname relation funcname args row timing events columns when_clause
        transition_rels deferrable initdeferred constrrel
    }
    CreateEventTrigStmt(CreateEventTrigStmt) { trigname eventname whenclause funcname }
    AlterEventTrigStmt(AlterEventTrigStmt) { trigname tgenabled }
    CreatePlangStmt(CreatePLangStmt) { replace plname plhandler plinline plvalidator pltrusted }
    CreateRoleStmt(CreateRoleStmt) { stmt_type role options }
    AlterRoleStmt(AlterRoleStmt) { role options action }
    AlterRoleSetStmt(AlterRoleSetStmt) { role database setstmt }
    DropRoleStmt(DropRoleStmt) { roles missing_ok }
    CreateSeqStmt(CreateSeqStmt) { sequence options owner_id for_identity if_not_exists }
    AlterSeqStmt(AlterSeqStmt) { sequence options for_identity missing_ok }
    DefineStmt(DefineStmt) { kind oldstyle defnames args definition if_not_exists replace }
    CreateDomainStmt(CreateDomainStmt) { domainname type_name coll_clause constraints }
    CreateOpClassStmt(CreateOpClassStmt) {
        opclassname opfamilyname amname datatype items is_default
    }
    CreateOpClassItem(CreateOpClassItem) { itemtype name number order_family class_args storedtype }
    CreateOpFamilyStmt(CreateOpFamilyStmt) { opfamilyname amname }
    AlterOpFamilyStmt(AlterOpFamilyStmt) { opfamilyname amname is_drop items }
    DropStmt(DropStmt) { objects remove_type behavior missing_ok concurrent }
    TruncateStmt(TruncateStmt) { relations restart_seqs behavior }
    CommentStmt(CommentStmt) { objtype object comment }
    SecLabelStmt(SecLabelStmt) { objtype object provider label }
    DeclareCursorStmt(DeclareCursorStmt) { portalname options query }
    ClosePortalStmt(ClosePortalStmt) { portalname }
    FetchStmt(FetchStmt) { direction how_many portalname ismove }
    IndexStmt(IndexStmt) {
        idxname relation access_method table_space index_params index_including_params options
        where_clause exclude_op_names idxcomment index_oid old_number old_create_subid
        old_first_relfilelocator_subid unique nulls_not_distinct primary isconstraint
        iswithoutoverlaps deferrable initdeferred transformed concurrent if_not_exists
        reset_default_tblspc
    }
    CreateStatsStmt(CreateStatsStmt) {
        defnames stat_types exprs relations stxcomment transformed if_not_exists
    }
    StatsElem(StatsElem) { name expr }
    AlterStatsStmt(AlterStatsStmt) { defnames stxstattarget missing_ok }
    CreateFunctionStmt(CreateFunctionStmt) {
        is_procedure replace funcname parameters return_type options sql_body
    }
    FunctionParameter(FunctionParameter) { name arg_type mode defexpr location }
    AlterFunctionStmt(AlterFunctionStmt) { objtype func actions }
    DoStmt(DoStmt) { args }
    InlineCodeBlock(InlineCodeBlock) { source_text lang_oid lang_is_trusted atomic }
    CallStmt(CallStmt) { funccall funcexpr outargs }
    CallContext(CallContext) { atomic }
    RenameStmt(RenameStmt) {
        rename_type relation_type relation object subname newname behavior missing_ok
    }
    AlterObjectDependsStmt(AlterObjectDependsStmt) { object_type relation object extname remove }
    AlterObjectSchemaStmt(AlterObjectSchemaStmt) {
        object_type relation object newschema missing_ok
    }
    AlterOwnerStmt(AlterOwnerStmt) { object_type relation object newowner }
    AlterOperatorStmt(AlterOperatorStmt) { opername options }
    AlterTypeStmt(AlterTypeStmt) { type_name options }
    RuleStmt(RuleStmt) { relation rulename where_clause event instead actions replace }
    NotifyStmt(NotifyStmt) { conditionname payload payload_location }
    ListenStmt(ListenStmt) { conditionname }
    UnlistenStmt(UnlistenStmt) { conditionname }
    TransactionStmt(TransactionStmt) { kind options savepoint_name gid chain location }
    CompositeTypeStmt(CompositeTypeStmt) { typevar coldeflist }
    CreateEnumStmt(CreateEnumStmt) { type_name vals }
    CreateRangeStmt(CreateRangeStmt) { type_name params }
    AlterEnumStmt(AlterEnumStmt) {
        type_name old_val new_val new_val_neighbor new_val_is_after skip_if_new_val_exists
    }
    ViewStmt(ViewStmt) { view aliases query replace options with_check_option }
    LoadStmt(LoadStmt) { filename }
    CreatedbStmt(CreatedbStmt) { dbname options }
    AlterDatabaseStmt(AlterDatabaseStmt) { dbname options }
    AlterDatabaseRefreshCollStmt(AlterDatabaseRefreshCollStmt) { dbname }
    AlterDatabaseSetStmt(AlterDatabaseSetStmt) { dbname setstmt }
    DropdbStmt(DropdbStmt) { dbname missing_ok options }
    AlterSystemStmt(AlterSystemStmt) { setstmt }
    ClusterStmt(ClusterStmt) { relation indexname params }
    VacuumStmt(VacuumStmt) { options rels is_vacuumcmd }
    VacuumRelation(VacuumRelation) { relation oid va_cols }
    ExplainStmt(ExplainStmt) { query options }
    CreateTableAsStmt(CreateTableAsStmt) { query into objtype is_select_into if_not_exists }
    RefreshMatViewStmt(RefreshMatViewStmt) { concurrent skip_data relation }
    CheckPointStmt(CheckPointStmt) {}
    DiscardStmt(DiscardStmt) { target }
    LockStmt(LockStmt) { relations mode nowait }
    ConstraintsSetStmt(ConstraintsSetStmt) { constraints deferred }
    ReindexStmt(ReindexStmt) { kind relation name params }
    CreateConversionStmt(CreateConversionStmt) {
        conversion_name for_encoding_name to_encoding_name func_name def
    }
    CreateCastStmt(CreateCastStmt) { sourcetype targettype func context inout }
    CreateTransformStmt(CreateTransformStmt) { replace type_name lang fromsql tosql }
    PrepareStmt(PrepareStmt) { name argtypes query }
    ExecuteStmt(ExecuteStmt) { name params }
    DeallocateStmt(DeallocateStmt) { name isall location }
    DropOwnedStmt(DropOwnedStmt) { roles behavior }
    ReassignOwnedStmt(ReassignOwnedStmt) { roles newrole }
    AlterTsdictionaryStmt(AlterTsDictionaryStmt) { dictname options }
    AlterTsconfigurationStmt(AlterTsConfigurationStmt) {
        kind cfgname tokentype dicts r#override replace missing_ok
    }
    PublicationTable(PublicationTable) { relation where_clause columns }
    PublicationObjSpec(PublicationObjSpec) { pubobjtype name pubtable location }
    CreatePublicationStmt(CreatePublicationStmt) { pubname options pubobjects for_all_tables }
    AlterPublicationStmt(AlterPublicationStmt) { pubname options pubobjects for_all_tables action }
    CreateSubscriptionStmt(CreateSubscriptionStmt) {
        subname conninfo publication options conninfo_location
    }
    AlterSubscriptionStmt(AlterSubscriptionStmt) {
        kind subname conninfo publication options conninfo_location
    }
    DropSubscriptionStmt(DropSubscriptionStmt) { subname missing_ok behavior }
    Integer(Integer) { ival }
    Float(Float) { fval }
    Boolean(Boolean) { boolval }
    String(String) { sval }
    BitString(BitString) { bsval }
    List(List) { items }
    IntList(IntList) { items }
    OidList(OidList) { items }
    AConst(AConst) { isnull location val }
}
