"""O protocolo puro: bytes entram, comandos saem; comandos entram, bytes saem. Sem rede e sem threads."""

import io
import pickle
import random
import unicodedata

import pytest

from protocolo import (
    MAXIMO_DA_LINHA,
    MAXIMO_DO_NOME,
    Aviso,
    Conectado,
    Entrada,
    Fila,
    Fim,
    LinhaLonga,
    Mensagem,
    Pergunta,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    comandos_do_servidor,
    limpar,
    validar_nome,
)


def casos(argumentos, tabela):
    """Um teste por item de `tabela`, cuja chave é o nome do caso."""
    return pytest.mark.parametrize(argumentos, tabela.values(), ids=tabela.keys())


em_pedacos = casos("tamanho", {"de-1": 1, "de-5": 5, "de-4096": 4096, "de-uma-vez": 1_000_000})
vinte_sorteios = casos("semente", {f"semente-{semente}": semente for semente in range(20)})


# --- Enquadramento ------------------------------------------------------------------------------

FAMILIA = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"

# nome do caso: (os bytes que chegam, as linhas que eles dizem)
CASOS = {
    "nada": (b"", []),
    "uma-linha": (b"oi\n", ["oi"]),
    "tres-linhas": (b"um\ndois\ntres\n", ["um", "dois", "tres"]),
    "linhas-vazias": (b"\n\n\r\n", ["", "", ""]),
    "so-espacos": (b"  \n\t\n", ["  ", " "]),
    "sem-o-fim-da-linha": (b"oi\nmetade", ["oi"]),
    "crlf": (b"oi\r\ntchau\r\n", ["oi", "tchau"]),
    "cr-no-meio": (b"a\rb\n", ["ab"]),
    "cr-repetido": (b"a\r\r\n", ["a"]),
    "acentos": ("ação é coração\n".encode(), ["ação é coração"]),
    "emoji-com-zwj": (f"{FAMILIA}!\n".encode(), [f"{FAMILIA}!"]),
    "bom": (b"\xef\xbb\xbfoi\n", ["\ufeffoi"]),
    "separadores-unicode": ("a\u2028b\u2029c\x85d\n".encode(), ["abcd"]),
    "bidirecionais": ("a\u202eb\u202c\u2066c\u2069\n".encode(), ["abc"]),
    "escape-do-terminal": (b"\x1b[2Jsumiu\x07\x00\n", ["[2Jsumiu"]),
    "tab": (b"a\tb\n", ["a b"]),
    "byte-invalido-antes-do-fim": (b"a\xff\nb\n", ["a\ufffd", "b"]),
    "byte-invalido-depois-do-fim": (b"a\n\xffb\n", ["a", "\ufffdb"]),
    "sequencia-truncada": (b"a\xe2\x82\nb\n", ["a\ufffd", "b"]),
    "sequencia-truncada-antes-do-crlf": (b"\xf0\x9f\x98\r\n", ["\ufffd"]),
    "continuacao-solta": (b"\x80\n\xbf\xbf\n", ["\ufffd", "\ufffd\ufffd"]),
    "surrogate-em-utf8": (b"\xed\xa0\x80\n", ["\ufffd\ufffd\ufffd"]),
    "4095-bytes": (b"x" * 4094 + b"\n", ["x" * 4094]),
    "4096-bytes": (b"x" * 4095 + b"\n", ["x" * 4095]),
    "4097-bytes": (b"x" * 4096 + b"\n", [None]),
    "4096-bytes-com-cr": (b"x" * 4094 + b"\r\n", ["x" * 4094]),
    "4097-bytes-com-cr": (b"x" * 4095 + b"\r\n", [None]),
    "4095-bytes-sem-fim": (b"x" * 4095, []),
    "longa-sem-fim": (b"oi\n" + b"x" * 4096, ["oi", None]),
    "longa-so-de-controles": (b"\x00" * 4096 + b"\n", [None]),
    "limite-e-de-bytes": ("é".encode() * 2048 + b"\n", [None]),
    "duas-longas-no-meio": (b"a\n" + b"x" * 5000 + b"\n" + b"y" * 9000 + b"\nb\n", ["a", None, None, "b"]),
    "longa-depois-de-vazia": (b"\n" + b"x" * 4096 + b"\n\nfim\n", ["", None, "", "fim"]),
}
# Os casos que acabam em fim de linha, um atrás do outro: uma conexão movimentada.
INTEIROS = [caso for caso in CASOS.values() if caso[0].endswith(b"\n")]
CONEXAO = b"".join(dados for dados, _ in INTEIROS)
LINHAS_DA_CONEXAO = [linha for _, linhas in INTEIROS for linha in linhas]


def separar(pedacos):
    """As linhas que saem de um separador novo alimentado com cada pedaço, na ordem."""
    separador = SeparadorDeLinhas()
    return [linha for pedaco in pedacos for linha in separador.alimentar(pedaco)]


def cortar(dados, tamanho):
    """`dados` em pedaços de `tamanho` bytes."""
    return [dados[inicio : inicio + tamanho] for inicio in range(0, len(dados), tamanho)]


@em_pedacos
@casos("dados, esperado", CASOS)
def test_linhas_nao_dependem_dos_pedacos(dados, esperado, tamanho):
    """As mesmas linhas saem, venham os bytes em pedaços de que tamanho vierem."""
    assert separar(cortar(dados, tamanho)) == esperado


@vinte_sorteios
def test_cortes_ao_acaso(semente):
    """Todos os casos numa conexão só, cortada em pontos sorteados, dão as linhas de sempre."""
    sorteio = random.Random(semente)
    cortes = sorted(sorteio.choices(range(len(CONEXAO) + 1), k=sorteio.choice([1, 10, 500])))
    pedacos = [CONEXAO[de:ate] for de, ate in zip([0, *cortes], [*cortes, len(CONEXAO)])]
    assert separar(pedacos) == LINHAS_DA_CONEXAO


@casos("corte", {f"depois-de-{corte}": corte for corte in range(7)})
def test_corte_no_meio_de_um_caractere(corte):
    """Um caractere de quatro bytes chega inteiro, seja onde for o corte."""
    dados = "a😀b\n".encode()
    assert separar([dados[:corte], dados[corte:]]) == ["a😀b"]


def test_linha_sai_assim_que_se_completa():
    """Cada linha sai no pedaço que traz o seu fim, nem antes nem depois."""
    separador = SeparadorDeLinhas()
    assert [separador.alimentar(pedaco) for pedaco in (b"o", b"i", b"\nt", b"", b"u\n")] == [[], [], ["oi"], [], ["tu"]]


def test_linha_longa_e_marcada_uma_vez_e_na_hora():
    """A linha longa é marcada no byte em que passa do limite, sem esperar o fim dela, e só uma vez."""
    separador = SeparadorDeLinhas()
    assert separador.alimentar(b"x" * (MAXIMO_DA_LINHA - 1)) == []
    assert separador.alimentar(b"x") == [None]
    assert separador.alimentar(b"x" * 10_000) == []
    assert separador.alimentar(b"x\noi\n") == ["oi"]


@casos("tamanho", {"de-1000": 1000, "de-4096": 4096, "de-65536": 65_536, "de-uma-vez": 50_000_000})
def test_linha_sem_fim_nao_ocupa_memoria(tamanho):
    """De 50 MB sem um fim de linha, o separador nunca guarda mais do que uma linha."""
    separador, vazio = SeparadorDeLinhas(), len(pickle.dumps(SeparadorDeLinhas()))
    pedaco, linhas = b"x" * tamanho, []
    for _ in range(50_000_000 // tamanho):
        linhas += separador.alimentar(pedaco)
        assert len(pickle.dumps(separador)) < vazio + MAXIMO_DA_LINHA + 16
    assert linhas == [None]
    assert separador.alimentar(b"\noi\n") == ["oi"]


# --- Texto de usuário ---------------------------------------------------------------------------

BIDIRECIONAIS_E_SEPARADORES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029}
TODOS = [chr(ponto) for ponto in range(0x110000) if not 0xD800 <= ponto <= 0xDFFF]


def limpo(letra):
    """O que a especificação manda fazer com um caractere."""
    if letra == "\t":
        return " "
    return "" if unicodedata.category(letra) == "Cc" or ord(letra) in BIDIRECIONAIS_E_SEPARADORES else letra


def test_limpar_cada_caractere():
    """Sozinho, cada caractere do Unicode fica, some ou vira espaço conforme a especificação."""
    assert [hex(ord(letra)) for letra in TODOS if limpar(letra) != limpo(letra)] == []


def test_limpar_todos_juntos():
    """Num texto só com o Unicode inteiro some exatamente o que deve, e a ordem do resto não muda."""
    assert limpar("".join(TODOS)) == "".join(map(limpo, TODOS))


@casos(
    "texto",
    {
        "vazio": "",
        "acentos": "Olá, ação!",
        "acento-separado": "e\u0301",
        "emoji-com-zwj": FAMILIA,
        "japones": "日本語",
        "hebraico": "שלום",
        "bom": "\ufeff",
    },
)
def test_limpar_nao_toca_em_texto_comum(texto):
    """Acentos, emojis, outros alfabetos e caracteres de formatação passam intactos."""
    assert limpar(texto) == texto


@casos(
    "texto, nome",
    {
        "simples": ("Yuri", "Yuri"),
        "um-caractere": ("Y", "Y"),
        "espacos-nas-pontas": ("  Ana Maria \t", "Ana Maria"),
        "tab-no-meio": ("Ana\tMaria", "Ana Maria"),
        "quarenta": ("é" * 40, "é" * 40),
        "quarenta-e-espacos": (" " + "x" * 40 + " ", "x" * 40),
        "quarenta-depois-da-limpeza": ("\x1b" + "x" * 40, "x" * 40),
        "espaco-atras-de-controle": ("\x00 Yuri", "Yuri"),
        "parece-comando": ("FIM:", "FIM:"),
        "emoji-com-zwj": (FAMILIA, FAMILIA),
    },
)
def test_nome_valido(texto, nome):
    """O nome sai limpo e sem espaços nas pontas."""
    assert validar_nome(texto) == nome


@casos(
    "texto",
    {
        "vazio": "",
        "so-espacos": " \t ",
        "so-controles": "\x00\x1b\u202e\u2028",
        "quarenta-e-um": "x" * 41,
        "colchete-que-abre": "Yu[ri",
        "colchete-que-fecha": "Yu]ri",
    },
)
def test_nome_invalido(texto):
    """O nome que não serve é recusado com o motivo que vai no `FIM:`."""
    with pytest.raises(ValueError, match="^Nome inválido: use de 1 a 40 caracteres, sem colchetes.$"):
        validar_nome(texto)


# --- Comandos que saem --------------------------------------------------------------------------

DO_SERVIDOR = {
    "pergunta-o-nome": (Pergunta("nome"), "NOME:"),
    "pergunta-a-senha": (Pergunta("senha"), "SENHA:"),
    "posicao-um": (Fila(1), "FILA:1"),
    "posicao-alta": (Fila(1234), "FILA:1234"),
    "atendente-livre": (Fila(None), "FILA:OK"),
    "conectado": (Conectado("José da Silva"), "CONECTADO:José da Silva"),
    "conectado-com-dois-pontos": (Conectado("a: b"), "CONECTADO:a: b"),
    "mensagem": (Mensagem("Yuri", ("Olá!",)), "[Yuri]: Olá!"),
    "mensagem-que-parece-comando": (Mensagem("Yuri", ("FIM:",)), "[Yuri]: FIM:"),
    "mensagem-com-colchetes": (Mensagem("Yuri", ("[Ana]: oi",)), "[Yuri]: [Ana]: oi"),
    "mensagem-vazia": (Mensagem("Yuri", ("",)), "[Yuri]: "),
    "fim": (Fim("Servidor encerrado."), "FIM:Servidor encerrado."),
    "fim-sem-motivo": (Fim(), "FIM:"),
    "aviso": (Aviso("Atenção: há espera."), "AVISO:Atenção: há espera."),
}
DO_TERMINAL = {
    "entrada-de-cliente": (Entrada(Tipo.CLIENTE), "CLIENTE"),
    "entrada-de-atendente": (Entrada(Tipo.ATENDENTE), "ATENDENTE"),
    "resposta": (Resposta("nome", "Yuri"), "Yuri"),
}


@casos("comando, linha", DO_SERVIDOR | DO_TERMINAL)
def test_codificar(comando, linha):
    """Cada comando tem no fio a forma literal da especificação, em UTF-8 e com `\\n` no fim."""
    assert Texto("Outro").codificar(comando) == f"{linha}\n".encode()


def test_codificar_varias_mensagens():
    """Cada texto é uma linha, e todas levam o nome de quem falou."""
    assert Texto().codificar(Mensagem("Yuri", ["um", "dois", "três"])) == (
        "[Yuri]: um\n[Yuri]: dois\n[Yuri]: três\n".encode()
    )


def test_codificar_o_que_nao_tem_utf8():
    """Um surrogate solto, que não existe em UTF-8, vira `?` em vez de erro."""
    assert Texto().codificar(Mensagem("Yuri", ["a\ud800b"])) == b"[Yuri]: a?b\n"


def test_linha_longa_nao_tem_forma_no_fio():
    """O que marca uma linha descartada não pode ser enviado."""
    with pytest.raises(ValueError):
        Texto().codificar(LinhaLonga())


# --- O que chega ao servidor --------------------------------------------------------------------


@casos(
    "linha, tipo",
    {
        "cliente": ("CLIENTE", Tipo.CLIENTE),
        "atendente": ("ATENDENTE", Tipo.ATENDENTE),
        "espacos-nas-pontas": (" CLIENTE ", Tipo.CLIENTE),
    },
)
def test_ler_entrada(linha, tipo):
    """A primeira linha diz o tipo de quem se conecta."""
    assert Texto().ler_entrada(linha) == Entrada(tipo)


@casos(
    "linha",
    {
        "vazia": "",
        "so-espacos": "  ",
        "longa-demais": None,
        "minusculas": "cliente",
        "com-complemento": "CLIENTE Yuri",
        "nome-do-membro": "Tipo.CLIENTE",
        "http": "GET / HTTP/1.1",
    },
)
def test_entrada_invalida(linha):
    """Qualquer outra primeira linha é recusada com o motivo que vai no `FIM:`."""
    with pytest.raises(ValueError, match="^Tipo inválido: envie CLIENTE ou ATENDENTE.$"):
        Texto().ler_entrada(linha)


@casos("linha, texto", {"comum": (" Yuri ", " Yuri "), "vazia": ("", ""), "longa-demais": (None, "")})
def test_ler_resposta(linha, texto):
    """A resposta vem como foi escrita; a longa demais vale como vazia."""
    assert Texto().ler_resposta("nome", linha) == Resposta("nome", texto)


@casos(
    "linha, texto",
    {
        "sem-prefixo": ("oi", "oi"),
        "prefixo-exato": ("[Yuri]: oi", "oi"),
        "prefixo-de-outro": ("[Ana]: oi", "[Ana]: oi"),
        "prefixo-em-minusculas": ("[yuri]: oi", "[yuri]: oi"),
        "prefixo-sem-espaco": ("[Yuri]:oi", "[Yuri]:oi"),
        "prefixo-depois-de-espaco": (" [Yuri]: oi", " [Yuri]: oi"),
        "prefixo-incompleto": ("[Yuri]", "[Yuri]"),
        "prefixo-com-dois-espacos": ("[Yuri]:  oi", " oi"),
        "prefixo-repetido": ("[Yuri]: [Yuri]: oi", "[Yuri]: oi"),
        "prefixo-no-meio": ("eu, [Yuri]: oi", "eu, [Yuri]: oi"),
        "so-o-prefixo": ("[Yuri]: ", ""),
        "espacos-nas-pontas": ("  oi ", "  oi "),
        "fim-com-prefixo": ("[Yuri]: FIM:", "FIM:"),
        "fim-em-minusculas": ("fim:", "fim:"),
        "fim-sem-dois-pontos": ("FIM", "FIM"),
        "fim-depois-de-espaco": (" FIM:", " FIM:"),
        "fim-depois-de-bom": ("\ufeffFIM:", "\ufeffFIM:"),
        "comando-do-servidor": ("CONECTADO:Ana", "CONECTADO:Ana"),
    },
)
def test_mensagem_de_participante(linha, texto):
    """O que não é comando é mensagem: perde o próprio prefixo, se o traz exato, e mais nada."""
    assert Texto("Yuri").ler_participante([linha]) == [Mensagem("Yuri", [texto])]


@casos(
    "linha, resto",
    {"so": ("FIM:", ""), "com-resto": ("FIM:tchau", "tchau"), "com-prefixo": ("FIM:[Yuri]: x", "[Yuri]: x")},
)
def test_fim_de_participante(linha, resto):
    """`FIM:` no começo exato da linha é um pedido de encerrar, venha o que vier depois."""
    assert Texto("Yuri").ler_participante([linha]) == [Fim(resto)]


@casos("linha", {"vazia": "", "espacos": "   ", "espaco-largo": "\u3000", "espaco-rigido": "\xa0"})
def test_linha_em_branco_nao_diz_nada(linha):
    """Linha vazia ou só de espaços é ignorada e nem separa as mensagens vizinhas."""
    assert Texto("Yuri").ler_participante([linha]) == []
    assert Texto("Yuri").ler_participante(["a", linha, "b"]) == [Mensagem("Yuri", ["a", "b"])]


def test_agrupamento_e_ordem():
    """Mensagens seguidas saem juntas; longas e `FIM:` as separam sem trocar a ordem de nada."""
    linhas = [None, "a", "[Yuri]: b", "", None, None, "c", "FIM:", "d", "x" * 4095, "e", "f"]
    assert Texto("Yuri").ler_participante(linhas) == [
        LinhaLonga(),
        Mensagem("Yuri", ["a", "b"]),
        LinhaLonga(),
        LinhaLonga(),
        Mensagem("Yuri", ["c"]),
        Fim(),
        Mensagem("Yuri", ["d"]),
        LinhaLonga(),
        Mensagem("Yuri", ["e", "f"]),
    ]


def test_sem_linhas_nao_ha_comandos():
    """Um `recv` que não completa linha nenhuma não produz comando algum."""
    assert Texto("Yuri").ler_participante([]) == []


PREFIXO = len("[Yuri]: ")  # bytes
CABE = MAXIMO_DA_LINHA - PREFIXO - len("\n")  # bytes de texto na maior mensagem de Yuri


@casos(
    "dados, aceita",
    {
        "no-limite-sem-prefixo": (b"x" * CABE, True),
        "no-limite-com-prefixo": (b"[Yuri]: " + b"x" * CABE, True),
        "um-a-mais-por-causa-do-prefixo": (b"x" * (CABE + 1), False),
        "um-a-mais-ja-com-prefixo": (b"[Yuri]: " + b"x" * (CABE + 1), False),
        "no-limite-com-emojis": ("😀".encode() * (CABE // 4) + b"x" * (CABE % 4), True),
        "um-a-mais-com-emojis": ("😀".encode() * (CABE // 4) + b"x" * (CABE % 4 + 1), False),
        "no-limite-com-bytes-invalidos": (b"\xff" * (CABE // 3) + b"x" * (CABE % 3), True),
        "um-a-mais-com-bytes-invalidos": (b"\xff" * (CABE // 3) + b"x" * (CABE % 3 + 1), False),
        "limpa-cabe": (b"x" * CABE + b"\x00" * PREFIXO, True),
    },
)
def test_limite_da_mensagem(dados, aceita):
    """A mensagem que enche a linha passa; a que só não cabe pelo prefixo ou por U+FFFD é longa demais."""
    formato = Texto("Yuri")
    (comando,) = formato.ler_participante(SeparadorDeLinhas().alimentar(dados + b"\n"))
    if aceita:
        assert len(formato.codificar(comando)) == MAXIMO_DA_LINHA
    else:
        assert comando == LinhaLonga()


@casos("letra", {"1-byte": "x", "2-bytes": "é", "3-bytes": "\ufffd", "4-bytes": "😀"})
@casos("tamanho", {"nome-curto": 1, "nome-medio": 20, "nome-longo": MAXIMO_DO_NOME})
def test_nenhuma_linha_que_sai_passa_do_limite(letra, tamanho):
    """De qualquer nome e de qualquer tamanho, é aceita toda mensagem que cabe na linha e nenhuma outra."""
    formato = Texto(letra * tamanho)
    for quantas in [*range(1, MAXIMO_DA_LINHA, 97), *range(880, MAXIMO_DA_LINHA // 2), *range(3900, 4096)]:
        mensagem = Mensagem(formato.nome, [letra * quantas])
        cabe = len(formato.codificar(mensagem)) <= MAXIMO_DA_LINHA
        assert formato.ler_participante(mensagem.textos) == [mensagem if cabe else LinhaLonga()]


@vinte_sorteios
def test_linhas_sorteadas_nao_passam_do_limite(semente):
    """De bytes sorteados sai chat cujas linhas começam pelo nome certo e cabem no limite."""
    sorteio = random.Random(semente)
    alfabeto = [b"x", b"\n", b"\r", b"\t", b"\xff", b"\xe2\x82", "😀é".encode(), b"FIM:", b"[Yuri]: ", b"y" * 1300]
    dados = b"".join(sorteio.choices(alfabeto, weights=[9, 2, 1, 1, 9, 9, 9, 1, 1, 1], k=20_000))
    formato, mensagens = Texto("Yuri"), 0
    for comando in formato.ler_participante(SeparadorDeLinhas().alimentar(dados)):
        if isinstance(comando, Mensagem):
            linhas = formato.codificar(comando).splitlines(keepends=True)
            assert len(linhas) == len(comando.textos)
            assert all(linha.startswith(b"[Yuri]: ") and len(linha) <= MAXIMO_DA_LINHA for linha in linhas)
            mensagens += len(linhas)
    assert mensagens > 100


# --- O que chega aos programas de terminal ------------------------------------------------------


@casos("comando, linha", DO_SERVIDOR)
def test_ida_e_volta(comando, linha):
    """O comando que o servidor codifica é o que o programa de terminal lê."""
    linhas = SeparadorDeLinhas().alimentar(Texto().codificar(comando))
    assert Texto().ler_servidor(linhas) == [comando]


def test_ida_e_volta_de_varias_mensagens():
    """Mensagens que saem juntas chegam uma a uma, na ordem."""
    linhas = SeparadorDeLinhas().alimentar(Texto().codificar(Mensagem("Yuri", ["um", "dois"])))
    assert Texto().ler_servidor(linhas) == [Mensagem("Yuri", ("um",)), Mensagem("Yuri", ("dois",))]


@casos(
    "linha",
    {
        "vazia": "",
        "espacos": "  ",
        "longa-demais": None,
        "palavra-solta": "oi",
        "fim-sem-dois-pontos": "FIM",
        "conectado-sem-dois-pontos": "CONECTADO",
        "comando-desconhecido": "APAGAR:tudo",
        "comando-em-minusculas": "fila:1",
        "comando-depois-de-espaco": " FILA:1",
        "fila-sem-posicao": "FILA:",
        "fila-com-letras": "FILA:dois",
        "fila-negativa": "FILA:-1",
        "fila-fracionaria": "FILA:1.5",
        "fila-com-espaco": "FILA: 1",
        "fila-com-sublinhado": "FILA:1_0",
        "fila-com-digito-arabe": "FILA:\u0663",
        "fila-com-expoente": "FILA:\u00b2",
        "mensagem-sem-separador": "[Yuri] oi",
        "mensagem-sem-espaco": "[Yuri]:oi",
    },
)
def test_lixo_do_servidor_e_descartado(linha):
    """O que não se entende some, sem levar os vizinhos."""
    assert Texto().ler_servidor(["FILA:2", linha, "FILA:1"]) == [Fila(2), Fila(1)]


# --- O fluxo inteiro ----------------------------------------------------------------------------


def recv_de(dados, tamanho):
    """Um `recv` que entrega `dados` em pedaços de até `tamanho` bytes, e depois o fim do fluxo."""
    fluxo = io.BytesIO(dados)
    return lambda maximo: fluxo.read(min(tamanho, maximo))


@em_pedacos
def test_comandos_do_servidor(tamanho):
    """Os comandos chegam todos e na ordem, em pedaços de que tamanho for; o lixo e a sobra, não."""
    comandos = [comando for comando, _ in DO_SERVIDOR.values()]
    dados = b"".join(map(Texto().codificar, comandos)) + b"lixo\n" + b"x" * 9000 + b"\nFILA:1\nFILA:2"
    assert list(comandos_do_servidor(recv_de(dados, tamanho))) == [*comandos, Fila(1)]


def test_comando_nao_espera_pelo_seguinte():
    """O comando sai assim que a sua linha se completa, sem outro `recv`."""
    pedacos = iter([b"FIL", b"A:1\nFI"])
    comandos = comandos_do_servidor(lambda maximo: next(pedacos))
    assert next(comandos) == Fila(1)


def test_terminal_nao_confia_no_servidor():
    """O que vem do servidor também chega limpo ao terminal."""
    assert list(comandos_do_servidor(recv_de(b"[Ana]: \x1b[2Joi\n", 4096))) == [Mensagem("Ana", ("[2Joi",))]
