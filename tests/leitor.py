"""A página do protocolo como programa: as formas que ela admite de escrever cada coisa, e como se lê o que volta.

Só ela foi lida para o escrever; as bibliotecas do projeto não. O que cada coisa muda nas filas é o modelo que diz.
"""

import json
import unicodedata

NAO_UTF8 = "AVISO:Nem tudo o que você mandou é UTF-8; o que não é chega como �."
LONGA = "AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada."
NAO_E_JSON = "AVISO:JSON inválido: mande um objeto por linha."

EM_BRANCO = "", " ", "\t\x0b ", "\x00", "\u3000\u2028"
SOMEM = "\x00\x07\x1b\u202e\u2066"
INTACTOS = "oi", "  espaços  ", "[Ana]: eu", " FIM:", "FILA:2", "PRONTO: já vou", "{}", '"\\/', "👨\u200d👩", "é" * 1300
COMANDOS = "FIM:", "FIM: já", "PAUSA:", "TRANSFERIR:x", "PRONTO: "  # só se dizem com o prefixo
LIMPOS = {"a\tb": "a b", "a\u2028b\x85c\x0c": "a b c ", "\x1b[2Jx\x00": "[2Jx", "\u202eoi\u202c": "oi"}
"""Como se escreve, e como o outro lê."""


def em_texto(linha):
    """Uma linha do servidor em JSON, como ele a diria em texto."""
    match json.loads(linha):
        case {"comando": "fila", "posicao": posicao}:
            return f"FILA:{posicao or 'OK'}"
        case {"comando": "conectado", "nome": nome}:
            return f"CONECTADO:{nome}"
        case {"comando": "mensagem", "nome": nome, "texto": texto}:
            return f"[{nome}]: {texto}"
        case {"comando": "departamento", "opcoes": opcoes}:
            return f"DEPARTAMENTO:{','.join(opcoes)}"
        case {"comando": palavra, **resto}:
            return f"{palavra.upper()}:{resto.get('mensagem', '')}"


class Pena:
    """Com que alguém escreve: de cada coisa sorteia uma das formas."""

    def __init__(self, sorte, nome, em_json):
        self.sorte, self.nome, self.em_json = sorte, nome, em_json
        self.avisada = False  # de que nem tudo era UTF-8

    def as_vezes(self, *coisas, vezes=0.2):
        """Uma das coisas, ou nada."""
        return self.sorte.choice(coisas) if self.sorte.random() < vezes else type(coisas[0])()

    def linha(self, texto):
        """Os bytes de uma linha; um caractere que some não muda o que ela diz, menos no começo da conexão."""
        lugar = self.sorte.randint(1, len(texto)) if texto else 0
        return f"{texto[:lugar]}{self.as_vezes(*SOMEM)}{texto[lugar:]}{self.as_vezes(chr(13))}\n".encode()

    def objeto(self, **campos):
        chaves = self.sorte.sample([*campos, "a mais"], len(campos) + 1)
        campos["a mais"] = self.sorte.choice([None, 1.5, "[" * 200, [{"comando": "fim"}]])
        separadores = self.sorte.choice([(",", ":"), (" , ", " : ")])
        em_ascii = self.sorte.random() < 0.3 and len(str(campos)) < 600
        return self.linha(json.dumps({c: campos[c] for c in chaves}, ensure_ascii=em_ascii, separators=separadores))

    def nome_como_vier(self, nome):
        """Um nome, ou um departamento, com espaços nas pontas e os acentos em letras separadas."""
        forma = self.sorte.choice(["NFC", "NFD"])
        return self.as_vezes(" ", "\t ") + unicodedata.normalize(forma, nome) + self.as_vezes(" ")

    def departamentos(self, onde, todos):
        """Sem contar maiúsculas, com um repetido, ou `*`."""
        if len(onde) > 1 and {*onde} == {*todos} and self.sorte.random() < 0.5:
            return "*"
        nomes = [self.sorte.choice([str.lower, str.upper, str])(self.nome_como_vier(nome)) for nome in onde]
        return ",".join(nomes + nomes[:1] * (len(nomes) > 1))

    def entrada(self, tipo, onde, todos, senha):
        """Do tipo ao departamento, sem esperar pelas perguntas; e as perguntas que vêm."""
        sabe = {"nome": self.nome_como_vier(self.nome)}
        if senha and tipo == "ATENDENTE":
            sabe["senha"] = unicodedata.normalize(self.sorte.choice(["NFC", "NFD"]), senha)
        if todos:
            sabe["departamento"] = self.departamentos(onde, todos)
        elif tipo == "ATENDENTE" and self.sorte.random() < 0.3:
            sabe["departamento"] = "*"
        podem_vir_antes = [*sabe] if self.em_json else [*sabe.keys() & {"departamento"}]
        antes = {campo: sabe[campo] for campo in podem_vir_antes if not todos or self.sorte.random() < 0.5}
        perguntas = [campo for campo in ("senha", "nome", "departamento") if campo in sabe and campo not in antes]
        brancas = EM_BRANCO[: self.sorte.randint(0, len(EM_BRANCO))]
        dados = self.as_vezes(b"\xef\xbb\xbf") + b"".join(map(self.linha, brancas))
        if self.em_json:
            dados += self.objeto_primeiro(comando=tipo.lower(), **antes)
            dados += b"".join(self.objeto(**{"comando": campo, campo: sabe[campo]}) for campo in perguntas)
        else:
            dados += self.linha(tipo + (f":{antes['departamento']}" if antes else "") + self.as_vezes(" "))
            dados += b"".join(f"{sabe[campo]}\n".encode() for campo in perguntas)
        linhas = [f"{campo.upper()}:{','.join(todos) if campo == 'departamento' else ''}" for campo in perguntas]
        return dados, linhas

    def objeto_primeiro(self, **campos):
        lista = campos.get("departamento", "").split(",")
        if self.sorte.random() < 0.5 and "departamento" in campos:
            campos["departamento"] = self.sorte.choice([[], ["*"]]) if lista == ["*"] else lista
        return self.objeto(**campos)

    def fala(self):
        """Uma linha de conversa: os bytes, o que se lê dela (ou nada) e o que o servidor responde a quem a mandou."""
        prefixo = self.as_vezes(f"[{self.nome}]: ", vezes=0.5) if not self.em_json else ""
        que = self.sorte.choices(["dita", "branca", "longa", "torta", "errada"], [12, 2, 1, 1, 1])[0]
        if que == "longa":
            return b"x" * 4096 + b"\n", None, [LONGA]
        if que == "errada" and self.em_json:
            return self.linha("FIM:"), None, [NAO_E_JSON]
        comandos = COMANDOS if prefixo or self.em_json else ()
        ditos = {"branca": EM_BRANCO, "torta": ["torto �"]}.get(que, [*INTACTOS, *LIMPOS, *comandos])
        dito = self.sorte.choice(ditos)
        escrita = self.objeto(comando="mensagem", texto=dito) if self.em_json else self.linha(prefixo + dito)
        if que == "torta":
            escrita = escrita.replace(b"\\ufffd", b"\xff").replace("�".encode(), b"\xff")
        torta = b"\xff" in escrita  # um caractere que some pode ter caído no meio do escape
        avisos = [NAO_UTF8] * (torta and not self.avisada)
        self.avisada |= torta
        return escrita, None if que == "branca" else LIMPOS.get(dito, dito), avisos

    def pedido(self, palavra, onde=None):
        """Os bytes de um pedido: `FIM`, `FILA`, `PAUSA`, `VOLTA`, `PRONTO` ou, com o departamento, `TRANSFERIR`."""
        onde = onde and self.departamentos([onde], ())
        if self.em_json:
            return self.objeto(comando=palavra.lower(), **({"departamento": onde} if onde else {}))
        resto = onde or (self.as_vezes("qualquer coisa", "[Ana]: oi") if palavra == "FIM" else self.as_vezes("  "))
        return self.linha(f"{palavra}:{resto}")

    def pedacos(self, dados):
        """Os mesmos bytes, cortados onde calhar."""
        cortes = sorted(self.sorte.choices(range(len(dados) + 1), k=self.sorte.choice([0, 1, 8])))
        return [dados[de:ate] for de, ate in zip([0, *cortes], [*cortes, len(dados)])]
