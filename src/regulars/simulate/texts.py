"""The words of the catalogue, in English and Chinese: departments, categories, brands, styles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Leaf:
    """A category: its words, how long a pack lasts (0 = a durable), a usual price in minor units."""

    name: str
    name_zh: str
    days: float
    price: int
    nouns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Department:
    """A top category and what it holds."""

    name: str
    name_zh: str
    leaves: tuple[Leaf, ...]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((en, zh) for en, zh in (pair.split("|") for pair in text.split(", ")))


def _leaf(names: str, days: float, price: int, nouns: str) -> Leaf:
    name, name_zh = names.split("|")
    return Leaf(name, name_zh, days, price, _pairs(nouns))


DEPARTMENTS = (
    Department("Drinks", "饮品", (
        _leaf("Tea|茶叶", 24, 1290, "Green Tea|绿茶, Black Tea|红茶, Oolong Tea|乌龙茶"),
        _leaf("Coffee|咖啡", 16, 1590, "Coffee Beans|咖啡豆, Ground Coffee|咖啡粉, Coffee Capsules|咖啡胶囊"),
        _leaf("Juice|果汁", 9, 590, "Apple Juice|苹果汁, Orange Juice|橙汁, Grape Juice|葡萄汁"),
        _leaf("Water|饮用水", 10, 490, "Mineral Water|矿泉水, Sparkling Water|苏打水, Spring Water|山泉水"),
        _leaf("Teaware|茶具", 0, 3490, "Teapot|茶壶, Tea Cup|茶杯, Tea Tray|茶盘"),
    )),
    Department("Pantry", "粮油", (
        _leaf("Rice|大米", 26, 1890, "Jasmine Rice|香米, Brown Rice|糙米, Sushi Rice|寿司米"),
        _leaf("Noodles|面条", 14, 690, "Egg Noodles|鸡蛋面, Rice Noodles|米粉, Instant Noodles|方便面"),
        _leaf("Oil|食用油", 32, 1490, "Olive Oil|橄榄油, Peanut Oil|花生油, Sesame Oil|芝麻油"),
        _leaf("Sauce|调味酱", 28, 590, "Soy Sauce|酱油, Chilli Sauce|辣椒酱, Oyster Sauce|蚝油"),
        _leaf("Spice|香料", 40, 390, "Pepper|胡椒, Star Anise|八角, Cinnamon|肉桂"),
    )),
    Department("Snacks", "零食", (
        _leaf("Nuts|坚果", 15, 1190, "Almonds|杏仁, Cashews|腰果, Walnuts|核桃"),
        _leaf("Biscuits|饼干", 10, 590, "Butter Biscuits|黄油饼干, Oat Cookies|燕麦曲奇, Crackers|苏打饼干"),
        _leaf("Chocolate|巧克力", 11, 790, "Dark Chocolate|黑巧克力, Milk Chocolate|牛奶巧克力, Pralines|夹心巧克力"),
        _leaf("Dried Fruit|果干", 17, 890, "Dried Mango|芒果干, Raisins|葡萄干, Dried Dates|红枣"),
        _leaf("Gift Boxes|礼盒", 0, 3990, "Snack Box|零食礼盒, Festival Box|节日礼盒, Tasting Box|品尝礼盒"),
    )),
    Department("Care", "个护", (
        _leaf("Soap|香皂", 21, 490, "Hand Soap|洗手皂, Body Wash|沐浴露, Bath Salt|浴盐"),
        _leaf("Shampoo|洗发水", 30, 1290, "Shampoo|洗发水, Conditioner|护发素, Hair Mask|发膜"),
        _leaf("Toothpaste|牙膏", 28, 490, "Toothpaste|牙膏, Mouthwash|漱口水, Tooth Powder|牙粉"),
        _leaf("Skincare|护肤", 35, 2490, "Face Cream|面霜, Cleanser|洁面乳, Sunscreen|防晒霜"),
        _leaf("Hair Tools|美发工具", 0, 4990, "Hair Dryer|吹风机, Hair Brush|发梳, Curling Iron|卷发棒"),
    )),
    Department("Home", "家居", (
        _leaf("Cleaning|清洁", 25, 690, "Dish Soap|洗洁精, Floor Cleaner|地板清洁剂, Glass Spray|玻璃水"),
        _leaf("Paper|纸品", 13, 890, "Tissue Paper|抽纸, Kitchen Roll|厨房纸, Toilet Roll|卷纸"),
        _leaf("Bedding|床品", 0, 5990, "Bed Sheet|床单, Pillow|枕头, Duvet Cover|被套"),
        _leaf("Lamps|灯具", 0, 4490, "Desk Lamp|台灯, Floor Lamp|落地灯, Night Light|小夜灯"),
        _leaf("Storage|收纳", 0, 1990, "Storage Box|收纳箱, Shelf Basket|置物篮, Drawer Tray|抽屉盒"),
    )),
    Department("Kitchen", "厨房", (
        _leaf("Pans|锅具", 0, 5490, "Frying Pan|煎锅, Wok|炒锅, Saucepan|奶锅"),
        _leaf("Knives|刀具", 0, 3990, "Chef Knife|厨师刀, Bread Knife|面包刀, Paring Knife|水果刀"),
        _leaf("Tableware|餐具", 0, 2490, "Dinner Plate|餐盘, Rice Bowl|饭碗, Chopsticks|筷子"),
        _leaf("Baking|烘焙", 22, 790, "Bread Flour|高筋粉, Baking Powder|泡打粉, Vanilla Sugar|香草糖"),
        _leaf("Appliances|小家电", 0, 8990, "Kettle|电热水壶, Blender|搅拌机, Toaster|烤面包机"),
    )),
    Department("Pets", "宠物", (
        _leaf("Dog Food|狗粮", 20, 2990, "Dog Kibble|狗干粮, Dog Cans|狗罐头, Puppy Food|幼犬粮"),
        _leaf("Cat Food|猫粮", 18, 2690, "Cat Kibble|猫干粮, Cat Cans|猫罐头, Kitten Food|幼猫粮"),
        _leaf("Cat Litter|猫砂", 14, 1490, "Tofu Litter|豆腐猫砂, Clay Litter|膨润土猫砂, Pine Litter|松木猫砂"),
        _leaf("Pet Toys|宠物玩具", 0, 1290, "Chew Toy|磨牙玩具, Feather Wand|逗猫棒, Ball|玩具球"),
        _leaf("Pet Beds|宠物窝", 0, 3490, "Dog Bed|狗窝, Cat Tree|猫爬架, Pet Blanket|宠物毯"),
    )),
    Department("Leisure", "休闲", (
        _leaf("Books|图书", 0, 1990, "Novel|小说, Cookbook|食谱, Picture Book|绘本"),
        _leaf("Games|桌游", 0, 3290, "Board Game|桌游, Card Game|卡牌, Puzzle|拼图"),
        _leaf("Stationery|文具", 0, 890, "Notebook|笔记本, Fountain Pen|钢笔, Sketch Pad|素描本"),
        _leaf("Sports|运动", 0, 4290, "Yoga Mat|瑜伽垫, Dumbbell|哑铃, Skipping Rope|跳绳"),
        _leaf("Plants|绿植", 0, 1690, "Succulent|多肉, Orchid|兰花, Herb Pot|香草盆栽"),
    )),
)  # fmt: skip


BRANDS = _pairs(
    "Bamboo Hill|竹岭, Red Lantern|红灯笼, Morning Dew|晨露, Northwind|北风, Silver Fern|银蕨, Old Harbour|老港, "
    "Lotus & Co|荷记, Sunfield|阳光田, Blue Crane|蓝鹤, Stone Bridge|石桥, Maple Lane|枫巷, Jade River|玉河, "
    "Kind Fox|善狐, White Peak|白峰, Moon Gate|月门, Tall Pine|高松, Fair Wind|顺风, Plum Court|梅园, "
    "Golden Ox|金牛, Clear Spring|清泉"
)
STYLES = _pairs(
    "Organic|有机, Classic|经典, Light|轻盈, Rich|浓郁, Family|家庭装, Travel|旅行装, Premium|臻选, "
    "Everyday|日常, Handmade|手工, Gentle|温和"
)


def title(brand: int, style: int, noun: tuple[str, str], edition: int) -> tuple[str, str]:
    """A product's name in English and Chinese; editions after the first are numbered."""
    number = f" No. {edition + 1}" if edition else ""
    number_zh = f" {edition + 1}号" if edition else ""
    (name, name_zh), (kind, kind_zh) = BRANDS[brand], STYLES[style]
    return f"{name} {kind} {noun[0]}{number}", f"{name_zh}{kind_zh}{noun[1]}{number_zh}"


def description(brand: int, style: int, noun: tuple[str, str], leaf: Leaf) -> tuple[str, str]:
    """One sentence about a product in English and Chinese, from what is public about it."""
    (name, name_zh), (kind, kind_zh) = BRANDS[brand], STYLES[style]
    return (
        f"{kind} {noun[0].lower()} by {name}, from our {leaf.name.lower()} shelf.",
        f"{name_zh}出品的{kind_zh}{noun[1]}，来自{leaf.name_zh}专区。",
    )
